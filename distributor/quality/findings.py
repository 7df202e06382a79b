"""Rows that fail a rule, and the words in which they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from distributor.ledger.quarantine import Key
from distributor.model.unfit import shortened
from distributor.settings.rules import OnFail, Rule

SAMPLES = 10


@dataclass(frozen=True, slots=True)
class Offender:
    """A row that fails. `values` are the columns that the rule looks at; `hold` is the row whose change is held back
    for it: (dataset, key); `note` says why an expression cannot be computed."""

    key: Key
    values: tuple[tuple[str, str | None], ...]
    hold: tuple[str, Key]
    note: str = ""

    def __str__(self) -> str:
        return f"{' '.join(self.key)}: {shown(self.values)}{f' ({self.note})' if self.note else ''}"


@dataclass(slots=True)
class Failures:
    """How many rows fail, and the first `most` of them."""

    most: int = SAMPLES
    count: int = 0
    offenders: list[Offender] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many more are kept."""
        return self.most - len(self.offenders)

    def add(self, count: int, offenders: Iterable[Offender]) -> None:
        """More of them; of the offenders only as many as there is room for."""
        self.count += count
        self.offenders += list(offenders)[: self.room]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that failed. `on_fail` is what was done about it, `rows` how many rows fail, `samples` some of them."""

    dataset: str
    rule: str
    demand: str
    on_fail: OnFail
    rows: int
    samples: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: str, rule: Rule, on_fail: OnFail, failures: Failures) -> Finding:
        """What a rule over rows found."""
        samples = tuple(str(offender) for offender in failures.offenders[:SAMPLES])
        return cls(dataset, rule.name, rule.told, on_fail, failures.count, samples)

    def __str__(self) -> str:
        fails = f"{self.rows:,} rows fail" if self.rows != 1 else "1 row fails"
        named = f"{self.dataset}: {fails if self.rows else 'it fails'} the rule {self.rule} ({self.demand})"
        return f"{named}: {listed(self.samples, self.rows)}" if self.samples else named


def listed(samples: Sequence[str], of: int) -> str:
    """Some of many, and how many there are more."""
    more = f"; and {of - len(samples):,} more" if of > len(samples) else ""
    return "; ".join(samples) + more


def shown(values: Iterable[tuple[str, str | None]]) -> str:
    """Columns with their values, those shortened."""
    return ", ".join(f"{name} = {'NULL' if value is None else repr(shortened(value))}" for name, value in values)
