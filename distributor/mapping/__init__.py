"""Datasets → a system's own tables: what the config says, parsed, allow-listed and compiled. Pure.

`expressions` reads SQL, `tables` holds what was asked for, `compiled` is that for one shape of a dataset. Rows go
through it in `distributor.shaping`.
"""
