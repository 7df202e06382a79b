"""Changed rows to release: the released image, comparison, publish; and import into the master."""
