"""Whatever a stranger wrote, as PostgreSQL can keep it: it refuses NUL, lone surrogates, NaN and endless texts."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import datetime

LONGEST_TEXT = 10_000
DEEPEST = 16
MOST_ATTEMPTS = 2**31 - 1


def text(value: str) -> str:
    r"""The text with NUL as `\x00` and lone surrogates as `\udcff`; cut after LONGEST_TEXT characters."""
    kept = value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 1]}…"
    return kept.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()


def json(value: object, depth: int = DEEPEST) -> object:
    """A header's value as a jsonb column can hold it: bytes as base64, times as ISO 8601, the rest as text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return text(value)
        case datetime():
            return value.isoformat()
        case bytes() | bytearray():
            return text(base64.b64encode(value).decode())
        case Mapping() | list() | tuple() if depth == 0:
            return "…"
        case Mapping():
            return {text(str(name)): json(item, depth - 1) for name, item in value.items()}
        case list() | tuple():
            return [json(item, depth - 1) for item in value]
        case _:
            return text(str(value))
