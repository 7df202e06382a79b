"""Rules that look at one row: `expect`, `not_null`, `range` and `matches`, over Arrow tables of canonical texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distributor.errors import ConfigError, SchemaError
from distributor.ledger.quarantine import Key
from distributor.mapping.compiled import compile_table
from distributor.mapping.expressions import names, parsed, quoted
from distributor.mapping.tables import ColumnMapping, TableMapping
from distributor.model.dataset import DatasetSchema
from distributor.model.types import Kind, LogicalType
from distributor.quality.findings import Offender
from distributor.settings.rules import Range, Rule
from distributor.shaping.engine import Engine
from distributor.shaping.sql import computable

KINDS = ("expect", "not_null", "range", "matches")
_BOOLEAN = LogicalType(Kind.BOOLEAN)
_NUMBERS = (Kind.INTEGER, Kind.DECIMAL, Kind.DOUBLE)
_READ: dict[Kind, Callable[[str], object]] = {
    Kind.DATE: date.fromisoformat,
    Kind.TIME: time.fromisoformat,
    Kind.TIMESTAMP: datetime.fromisoformat,
    Kind.TIMESTAMPTZ: datetime.fromisoformat,
}
_TIMES = {Kind.DATE: "DATE", Kind.TIME: "TIME", Kind.TIMESTAMP: "TIMESTAMP", Kind.TIMESTAMPTZ: "TIMESTAMPTZ"}


class RowRules:
    """A dataset's rules of these KINDS. For one thread; give the memory back with `close`."""

    def __init__(self, schema: DatasetSchema, rules: Sequence[Rule]) -> None:
        """Raises SchemaError for a column that the dataset has not, ConfigError for a rule that cannot be."""
        self._schema = schema
        self.rules = [rule for rule in rules if rule.kind in KINDS]
        check_columns(schema, self.rules)
        self._shown = {rule.name: _looked_at(schema, rule) for rule in self.rules}
        self._computed = {rule.name: text for rule in self.rules if (text := _expression(schema, rule)) is not None}
        for rule in self.rules:
            if rule.matches:
                _try_pattern(schema, rule)
        self._engine = self._made() if self._computed else None

    def close(self) -> None:
        """Gives the memory back."""
        if self._engine:
            self._engine.close()

    def failing(self, rows: pa.Table) -> Iterator[tuple[Rule, Any, dict[Key, str]]]:
        """For each rule: which of these rows fail it, and the notes on those of which it cannot be computed."""
        computed, notes = self._compute(rows)
        for rule in self.rules:
            if rule.name in computed:
                yield rule, computed[rule.name], notes.get(rule.name, {})
            else:
                yield rule, _fails(rows, rule), {}

    def offenders(self, rows: pa.Table, rule: Rule, mask: Any, notes: dict[Key, str], most: int) -> list[Offender]:
        """The first of these rows that fail a rule."""
        found = rows.filter(mask).slice(0, most).to_pylist()
        offenders = []
        for row in found:
            key = tuple(row[name] for name in self._schema.key)
            shown = [name for name in self._shown[rule.name] if not rule.not_null or row[name] is None]
            values = tuple((name, row[name]) for name in shown)
            offenders.append(Offender(key, values, (self._schema.dataset, key), notes.get(key, "")))
        return offenders

    def _made(self) -> Engine:
        schema = self._schema
        keys = [ColumnMapping(name=name, expr=quoted(name)) for name in schema.key]
        tests = [ColumnMapping(name=_named(rule), expr=text, type=_BOOLEAN) for rule, text in self._computed.items()]
        mapping = TableMapping(dataset=schema.dataset, into=schema.dataset, columns=(*keys, *tests))
        try:
            return Engine(compile_table("", mapping, schema))
        except ConfigError as error:
            where = f"dataset {schema.dataset}, rules {', '.join(self._computed)}"
            raise SchemaError(error.what, where=where, mend=error.mend) from error

    def _compute(self, rows: pa.Table) -> tuple[dict[str, Any], dict[str, dict[Key, str]]]:
        if self._engine is None:
            return {}, {}
        shaped = self._engine.shape(rows)
        notes: dict[str, dict[Key, str]] = {}
        for unfit in shaped.unfit:
            # The engine's own reason speaks of the first such row.
            notes.setdefault(unfit.column, {})[unfit.key] = "it cannot be computed"
        failing: dict[str, Any] = {}
        for name in self._computed:
            mask: Any = pc.fill_null(pc.equal(shaped.rows[_named(name)], pa.scalar("false")), pa.scalar(value=False))
            if broken := notes.get(_named(name)):
                keys = zip(*(rows[column].to_pylist() for column in self._schema.key), strict=True)
                mask = pc.or_(mask, pa.chunked_array([pa.array([key in broken for key in keys])]))
            failing[name] = mask
        return failing, {name: notes.get(_named(name), {}) for name in self._computed}


def check_columns(schema: DatasetSchema, rules: Sequence[Rule]) -> None:
    """Raises SchemaError for a column that a rule names and the dataset has not."""
    known = schema.column_names
    for rule in rules:
        for name in rule.columns:
            if name not in known:
                raise SchemaError(
                    f"the rule {rule.name} names the column {name!r}, which is not there",
                    where=f"dataset {schema.dataset}",
                    mend=f"It has {', '.join(known)}.",
                )


def _named(rule: str) -> str:
    return f"the rule {rule}"


def _looked_at(schema: DatasetSchema, rule: Rule) -> tuple[str, ...]:
    """The columns that are shown of a row that fails."""
    if rule.expect is None:
        return rule.columns
    known = {name.lower(): name for name in schema.column_names}
    read = [name.column for name in names(parsed(rule.expect, rule.name))]
    return tuple(name if name in schema.column_names else known[name.lower()] for name in read if name.lower() in known)


def _expression(schema: DatasetSchema, rule: Rule) -> str | None:
    """The rule as an SQL expression; None where it is none."""
    if rule.expect is not None:
        return rule.expect
    if rule.range is None:
        return None
    column = next(one for one in schema.columns if one.name == rule.range.column)
    if column.type.kind is Kind.DECIMAL and not computable(column.type):
        _decimals(rule, rule.range)
        return None
    bounds = ((">=", rule.range.min), ("<=", rule.range.max))
    tests = [
        f"{quoted(column.name)} {sign} {_literal(schema, rule, column.type, bound)}"
        for sign, bound in bounds
        if bound is not None
    ]
    return " AND ".join(tests)


def _literal(schema: DatasetSchema, rule: Rule, type_: LogicalType, bound: object) -> str:
    where = f"dataset {schema.dataset}, the rule {rule.name}"
    given = bound.isoformat() if isinstance(bound, datetime | date | time) else str(bound)
    written = "'" + given.replace("'", "''") + "'"
    if type_.kind is Kind.TEXT:
        return written
    if type_.kind in _TIMES:
        try:
            _READ[type_.kind](given)
        except ValueError as error:
            raise ConfigError(f"{given!r} is no {type_.kind.value}", where=where) from error
        return f"CAST({written} AS {_TIMES[type_.kind]})"
    if type_.kind not in _NUMBERS:
        raise ConfigError(f"a range of {type_} cannot be compared", where=where, mend="Write an `expect`.")
    return format(_number(bound, where), "f")


def _number(bound: object, where: str) -> Decimal:
    try:
        number = Decimal(str(bound))
    except InvalidOperation as error:
        raise ConfigError(f"{bound!r} is no number", where=where) from error
    if not number.is_finite():
        raise ConfigError(f"{bound!r} is no bound", where=where)
    return number


def _decimals(rule: Rule, limits: Range) -> tuple[Decimal | None, Decimal | None]:
    where = f"the rule {rule.name}"
    lowest = _number(limits.min, where) if limits.min is not None else None
    return lowest, _number(limits.max, where) if limits.max is not None else None


def _fails(rows: pa.Table, rule: Rule) -> Any:
    if rule.not_null:
        masks: list[Any] = [pc.is_null(rows[name]) for name in rule.not_null]
        fails = masks[0]
        for mask in masks[1:]:
            fails = pc.or_(fails, mask)
        return fails
    if rule.matches:
        matching: Any = pc.match_substring_regex(rows[rule.matches.column], _whole(rule.matches.pattern))
        return pc.invert(pc.fill_null(matching, pa.scalar(value=True)))
    assert rule.range
    # Decimals of any number of digits: nothing but Python compares them as they are.
    lowest, highest = _decimals(rule, rule.range)
    return pa.chunked_array(
        [pa.array([_outside(value, lowest, highest) for value in rows[rule.range.column].to_pylist()], pa.bool_())]
    )


def _outside(value: str | None, lowest: Decimal | None, highest: Decimal | None) -> bool:
    if value is None:
        return False
    number = Decimal(value)
    if number.is_nan():
        # As PostgreSQL orders it: above everything.
        return highest is not None
    return (lowest is not None and number < lowest) or (highest is not None and number > highest)


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


def _try_pattern(schema: DatasetSchema, rule: Rule) -> None:
    assert rule.matches
    try:
        pc.match_substring_regex(pa.array(["x"]), _whole(rule.matches.pattern))
    except pa.ArrowInvalid as error:
        raise ConfigError(
            f"{rule.matches.pattern!r} is no regular expression: {error}",
            where=f"dataset {schema.dataset}, the rule {rule.name}",
            mend="RE2 knows neither look-ahead nor back-references.",
        ) from error
