"""Rows of datasets → rows of a system's tables: compiled mappings, run by DuckDB over Arrow, in memory.

Publisher and consumers use it alike. The same expressions give a system's rows and their expected certificate.
"""
