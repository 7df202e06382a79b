"""Manifests and chunks, content-addressed by sha256 and verified on every read."""
