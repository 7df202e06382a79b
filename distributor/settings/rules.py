"""Quality rules of a dataset, and how many rows they may hold back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Literal

from pydantic import Field, model_validator

from distributor.errors import ConfigError
from distributor.mapping.expressions import parsed
from distributor.settings.section import Section

OnFail = Literal["refuse", "quarantine", "warn"]
Bound = int | float | datetime | date | time | str
KINDS = ("expect", "not_null", "unique", "references", "range", "matches", "volume")


class Range(Section):
    """Between which values a column lies, both included; NULL passes."""

    column: str = Field(description="the column")
    min: Bound | None = Field(default=None, description="the least value")
    max: Bound | None = Field(default=None, description="the largest value")


class Matches(Section):
    """What the whole canonical text of a column looks like; NULL passes."""

    column: str = Field(description="the column")
    pattern: str = Field(description="a regular expression (RE2) that the whole text matches")


class Volume(Section):
    """How much a release may change the size of the dataset. Shares are of its rows before, if any."""

    min_share: float | None = Field(default=None, ge=0, description="rows after, at least this share of those before")
    max_share: float | None = Field(default=None, ge=0, description="rows after, at most this share of those before")
    max_deletes_share: float | None = Field(default=None, ge=0, description="deleted rows, at most this share")
    max_updates_share: float | None = Field(default=None, ge=0, description="updated rows, at most this share")
    min_rows: int | None = Field(default=None, ge=0, description="rows after, at least")
    max_rows: int | None = Field(default=None, ge=0, description="rows after, at most")


class Rule(Section):
    """What must be true of a dataset before it is published: a name, one of the kinds, and what if it is not."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}$", description="how messages name it")
    expect: str | None = Field(
        default=None,
        description="SQL over the dataset's columns; a row passes when it is true or NULL; docs/mappings.md has the"
        " functions",
    )
    not_null: tuple[str, ...] | None = Field(default=None, description="columns that have a value")
    unique: tuple[str, ...] | None = Field(
        default=None, description="columns that no two rows share; rows in which one of them is NULL pass"
    )
    references: str | None = Field(
        default=None, description="a column of the dataset's `references`: the row that it names is in the release"
    )
    range: Range | None = Field(default=None, description="{column = …, min = …, max = …}")
    matches: Matches | None = Field(default=None, description="{column = …, pattern = …}")
    volume: Volume | None = Field(default=None, description="{min_share = …, max_deletes_share = …}")
    on_fail: OnFail = Field(
        default="refuse",
        description="refuse: nothing is published; quarantine: the rows are held back, the rest goes out; warn: it is"
        " published and said",
    )

    @model_validator(mode="after")
    def _is_one_rule(self) -> Rule:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise ValueError(f"the rule {self.name!r} needs exactly one of {', '.join(KINDS)}; it has {found}")
        self._check_kind()
        return self

    def _check_kind(self) -> None:
        if self.kind in ("not_null", "unique") and not self.columns:
            raise ValueError(f"the rule {self.name!r} names no column")
        if self.range and self.range.min is None and self.range.max is None:
            raise ValueError(f"the rule {self.name!r} needs min, max or both")
        if self.volume:
            if self.on_fail == "quarantine":
                raise ValueError(f"the rule {self.name!r} is about no single row: on_fail is refuse or warn")
            if self.volume == Volume():
                raise ValueError(f"the rule {self.name!r} limits nothing: {', '.join(Volume.model_fields)}")
        if self.expect is not None:
            try:
                parsed(self.expect, f"the rule {self.name!r}")
            except ConfigError as error:
                raise ValueError(str(error)) from error

    @property
    def kind(self) -> str:
        """Which of KINDS it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names itself; those of an `expect` are in its expression."""
        single = self.range or self.matches
        if single:
            return (single.column,)
        return self.not_null or self.unique or ((self.references,) if self.references else ())

    @property
    def told(self) -> str:
        """What it demands, as messages say it."""
        if self.range:
            lowest = f"{self.range.min} ≤ " if self.range.min is not None else ""
            return f"{lowest}{self.range.column}" + (f" ≤ {self.range.max}" if self.range.max is not None else "")
        if self.matches:
            return f"{self.matches.column} matches {self.matches.pattern}"
        if self.volume:
            return ", ".join(f"{name} {limit:g}" for name, limit in self.volume.model_dump(exclude_none=True).items())
        if self.references:
            return f"{self.references} names a row"
        return self.expect or f"{', '.join(self.columns)} {'is' if len(self.columns) == 1 else 'are'} " + (
            "unique" if self.unique else "not null"
        )


class QuarantineSettings(Section):
    """How many rows of a dataset may be held back; with more, nothing is published. One row always may."""

    max_rows: int = Field(default=1000, ge=0, description="at most so many rows of one dataset")
    max_share: float = Field(default=0.01, ge=0, le=1, description="at most this share of the dataset's rows")

    def most(self, rows: int) -> int:
        """How many rows of a dataset of so many may be held back."""
        return min(self.max_rows, max(1, int(self.max_share * rows)))


def problems(rules: tuple[Rule, ...], references: dict[str, str]) -> Iterator[str]:
    """What is wrong with a dataset's rules beside each other."""
    names = [rule.name for rule in rules]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two rules are called {name!r}"
    for rule in rules:
        if rule.references and rule.references not in references:
            known = ", ".join(references) or "none"
            yield f"the rule {rule.name!r}: {rule.references!r} is not declared in `references`; declared: {known}"
