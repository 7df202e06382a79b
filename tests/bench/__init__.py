"""The benchmark: `python -m tests.bench`, or `deploy/run bench`."""
