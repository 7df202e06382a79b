"""Faults in a running estate, each at a seeded moment, and what every reader sees afterwards."""
