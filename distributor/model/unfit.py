"""A row that somebody cannot take: a mapping whose expression fails on it, or a store that cannot hold a value."""

from __future__ import annotations

from collections.abc import Sequence

from distributor.errors import DistributorError
from distributor.model.dataset import Frozen


class Unfit(Frozen):
    """One value of one row. `key` is the row's, as canonical texts; `value` is shortened; `why` is half a sentence
    that begins in lower case: "is longer than 40 characters"."""

    table: str
    dataset: str
    key: tuple[str, ...]
    column: str
    value: str | None
    why: str

    def __str__(self) -> str:
        shown = "NULL" if self.value is None else repr(self.value)
        return f"{self.table} {', '.join(self.key)}: {self.column} = {shown} {self.why}"


SHOWN = 80


def shortened(value: str | None) -> str | None:
    """A value as it is told: at most SHOWN characters."""
    return value if value is None or len(value) <= SHOWN else value[: SHOWN - 1] + "…"


class UnfitRowsError(DistributorError):
    """Rows of a release that a mapping or a store cannot take; `rows` has them all."""

    def __init__(self, rows: Sequence[Unfit], *, where: str = "") -> None:
        first = "; ".join(str(row) for row in rows[:3])
        more = f", and {len(rows) - 3:,} more" if len(rows) > 3 else ""
        super().__init__(f"{len(rows):,} rows do not fit: {first}{more}", where=where)
        self.rows = tuple(rows)
