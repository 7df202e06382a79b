"""Logs, traces, and the two things that may only enter at an edge: time and ids."""
