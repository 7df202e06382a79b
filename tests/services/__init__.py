"""The servers that tests run against: given by URL, in containers, or started here as private processes."""
