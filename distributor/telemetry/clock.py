"""The only place where this service asks for the time or mints an id."""

from __future__ import annotations

import datetime as _datetime
import os
import uuid
from datetime import datetime, timedelta


def _offset() -> timedelta:
    # Tests of clock skew run a process with a clock that is off; nothing else sets this.
    return timedelta(seconds=float(os.environ.get("DISTRIBUTOR_CLOCK_OFFSET", "0")))  # noqa: TID251


_OFFSET = _offset()


def now() -> datetime:
    """The time in UTC."""
    return _datetime.datetime.now(_datetime.UTC) + _OFFSET  # noqa: TID251


def new_id() -> str:
    """A random id, 32 hex digits."""
    return uuid.uuid4().hex  # noqa: TID251
