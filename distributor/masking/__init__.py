"""What some environments must not see: policies, and what they make of canonical texts. No I/O; `docs/masking.md`."""
