"""The words of the service as frozen values. No I/O, no clock, no logging."""
