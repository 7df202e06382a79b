"""Datasets → a system's own tables. Pure. The identity only, until mappings have expressions."""
