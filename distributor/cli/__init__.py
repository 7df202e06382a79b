"""The command line: one verb per file. A verb is a function from a desk and options to an outcome."""
