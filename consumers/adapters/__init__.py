"""One store, one file. What an adapter must do is in base.py; the exam it sits is in consumers/conformance."""
