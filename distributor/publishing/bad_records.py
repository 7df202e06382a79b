"""Records of a file that cannot be loaded: told, or put into a file of their own so that the good ones can be."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from distributor.errors import BadInputError, UsageError

MOST = 1000
_TOLD = 10
_SHOWN = 80
NOTHING = "Nothing was loaded."


@dataclass(frozen=True, slots=True)
class BadRecord:
    """`place` is its line, or its row where a file has no lines; `record` is as it stands in the file."""

    place: int
    reason: str
    record: str
    column: str = ""


@dataclass
class BadRecords:
    """What a file has of them. With `kept`, a file that must not be there yet, they are written to it, at most `most`;
    without one the first of them is the end of it."""

    source: Path
    kept: Path | None = None
    most: int = MOST
    places: str = "line"
    found: list[BadRecord] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        if self.kept is not None and self.kept.exists():
            raise UsageError("there is such a file already", where=str(self.kept), mend="Name another one.")

    @property
    def keeps(self) -> bool:
        """Whether good records are loaded although there are bad ones."""
        return self.kept is not None

    def add(self, bad: Iterable[BadRecord]) -> None:
        """More of them. Only those that may be kept are remembered, the others are counted."""
        for record in bad:
            self.count += 1
            if len(self.found) <= self.most:
                self.found.append(record)

    def settle(self) -> None:
        """Raises BadInputError when there are some and they are not kept, or more than may be."""
        if not self.count or (self.keeps and self.count <= self.most):
            return
        told = "; ".join(self.told)
        more = f"; and {self.count - _TOLD:,} more" if self.count > _TOLD else ""
        many = f"{self.count:,} records are" if self.count > 1 else "1 record is"
        many = f"at least {many}" if self.keeps else many
        limit = f" and at most {self.most:,} may be (--max-bad)" if self.keeps else ""
        mend = "Mend them." if self.keeps else "Mend them, or load the others with `--bad-records FILE`."
        raise BadInputError(f"{many} broken{limit}: {told}{more}", where=str(self.source), mend=f"{mend} {NOTHING}")

    @property
    def told(self) -> list[str]:
        """The first of them, in sentences."""
        first = sorted(self.found, key=lambda bad: bad.place)[:_TOLD]
        return [f"{self.places} {bad.place}: {_reason(bad)}: {_shown(bad.record)}" for bad in first]

    def write(self) -> None:
        """Writes them to their file, a JSON object per line, in the order of the source. Raises BadInputError."""
        if self.kept is None or not self.count:
            return
        try:
            with self.kept.open("x", encoding="utf-8") as file:
                for bad in sorted(self.found, key=lambda bad: bad.place):
                    line = {self.places: bad.place, "column": bad.column, "reason": bad.reason, "record": bad.record}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise BadInputError(f"it cannot be written: {error}", where=str(self.kept), mend=NOTHING) from error


def _reason(bad: BadRecord) -> str:
    return f"column {bad.column}: {bad.reason}" if bad.column else bad.reason


def _shown(record: str) -> str:
    return repr(record if len(record) <= _SHOWN else record[:_SHOWN] + "…")
