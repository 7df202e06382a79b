"""Quality rules: what must be true of a dataset before a release is made of it, judged over the release's changes."""
