"""The exam that every adapter sits.

An adapter's author subclasses `AdapterConformance` (exam.py) in a test module and gives it a fixture `seat`: a fresh
store each time, and hands and eyes in it that are not the adapter's own (seat.py).
"""

import pytest

_ASKING = ("audits", "exam", "hands", "proof", "shapes")
pytest.register_assert_rewrite(*(f"consumers.conformance.{name}" for name in _ASKING))
