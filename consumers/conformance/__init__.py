"""The exam that every adapter sits.

An adapter's author subclasses `AdapterConformance` (exam.py) in a test module and gives it a fixture `seat`: a fresh
store each time, and hands and eyes in it that are not the adapter's own (seat.py).
"""

import pytest

pytest.register_assert_rewrite(
    "consumers.conformance.exam", "consumers.conformance.hands", "consumers.conformance.proof"
)
