"""The closed list of logical types. The canonical text of each is written down in docs/certificates.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a column holds, independent of any store."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DOUBLE = "double"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    TIMESTAMPTZ = "timestamptz"
    UUID = "uuid"
    BYTES = "bytes"
    JSON = "json"


_DECIMAL = re.compile(r"decimal\((\d+),\s*(-?\d+)\)")
_TEXT = re.compile(r"text\((\d+)\)")


@dataclass(frozen=True, slots=True)
class LogicalType:
    """A kind; for decimals with a declared scale its precision and scale, for texts with a declared length the most
    characters."""

    kind: Kind
    precision: int | None = None
    scale: int | None = None
    length: int | None = None

    @property
    def fits_a_double(self) -> bool:
        """Whether every value is a decimal of at most 15 digits: those survive the way through a double."""
        return self.precision is not None and self.scale is not None and 0 <= self.scale <= self.precision <= 15

    def __str__(self) -> str:
        if self.length is not None:
            return f"{self.kind.value}({self.length})"
        if self.precision is None:
            return self.kind.value
        return f"{self.kind.value}({self.precision},{self.scale})"

    @classmethod
    def parse(cls, text: str) -> LogicalType:
        """The inverse of `str`. Raises ValueError for anything that is not on the list."""
        if found := _DECIMAL.fullmatch(text):
            return cls(Kind.DECIMAL, int(found[1]), int(found[2]))
        if found := _TEXT.fullmatch(text):
            return cls(Kind.TEXT, length=int(found[1]))
        return cls(Kind(text))
