"""Rules that look at other rows, `unique` and `references`: by the keys of a delivery, in the image that has it.

A few keys are looked up by indexes, so that the cost is that of the delivery and not of the dataset. Indexes are of
hashes: a text may be longer than an index can hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from distributor.errors import SchemaError
from distributor.ledger.quarantine import Key
from distributor.model.dataset import DatasetSchema
from distributor.publishing.image import SCHEMA, image_table
from distributor.quality.delivery import Delivery, keys_of
from distributor.quality.findings import Failures, Offender
from distributor.quality.rows import RowRules, check_columns
from distributor.settings.models import Dataset
from distributor.settings.rules import Rule
from distributor.store.chunks import AFTER, BEFORE, OP, Op

KINDS = ("unique", "references")
_PREFIX = "quality_"
_INDEXES = "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'i' AND relnamespace = to_regnamespace({})"


def check_rules(datasets: Mapping[str, Dataset], schemas: Mapping[str, DatasetSchema]) -> None:
    """Raises SchemaError for rules that cannot be looked up in these shapes."""
    for name, schema in schemas.items():
        rules = [rule for rule in datasets[name].rules if rule.kind in KINDS]
        check_columns(schema, rules)
        for rule in rules:
            target = datasets[name].references.get(rule.references or "", "")
            if target in schemas and len(schemas[target].key) != 1:
                raise SchemaError(
                    f"{rule.references} cannot name a row of {target}: its key is ({', '.join(schemas[target].key)})",
                    where=f"dataset {name}, the rule {rule.name}",
                    mend="Only a dataset with a key of one column can be referenced.",
                )


def try_rules(name: str, dataset: Dataset, schema: DatasetSchema) -> None:
    """Raises SchemaError or ConfigError for rules of one dataset that do not fit its columns."""
    RowRules(schema, dataset.rules).close()
    check_rules({name: dataset}, {name: schema})


def make_indexes(image: psycopg.Connection, datasets: Mapping[str, Dataset]) -> None:
    """The image's indexes are those that the rules need, whatever was made or left out before."""
    wanted = {
        _PREFIX + hashlib.sha256(repr((name, rule.columns)).encode()).hexdigest()[:16]: (name, rule.columns)
        for name, dataset in datasets.items()
        for rule in dataset.rules
        if rule.kind in KINDS
    }
    rows = image.execute(sql.SQL(_INDEXES).format(sql.Literal(SCHEMA))).fetchall()
    known = {name for (name,) in rows if name.startswith(_PREFIX)}
    for name in sorted(known - wanted.keys()):
        image.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(SCHEMA, name)))
    for name in sorted(wanted.keys() - known):
        dataset, columns = wanted[name]
        image.execute(
            sql.SQL("CREATE INDEX {} ON {} ({})").format(
                sql.Identifier(name), image_table(dataset), sql.SQL(", ").join(_hash(column) for column in columns)
            )
        )


def not_unique(delivery: Delivery, dataset: str, rule: Rule, failures: Failures) -> None:
    """Rows of the delivery that share the columns' values with another row."""
    schema, columns = delivery.schemas[dataset], rule.columns
    same = [sql.SQL("{} = {}").format(_hash(name, "o"), _hash(name, "m")) for name in columns]
    same += [_equal("o", name, "m", name) for name in columns]
    other = sql.SQL("ROW({}) <> ROW({})").format(_columns("o", schema.key), _columns("m", schema.key))
    there = [sql.SQL("{} IS NOT NULL").format(sql.Identifier("m", name)) for name in columns]
    exists = sql.SQL("EXISTS (SELECT FROM {} AS o WHERE {})").format(image_table(dataset), _all([*same, other]))
    for rows in _delivered(delivery, dataset):
        _take(delivery, dataset, columns, rows, sql.SQL(""), [*there, exists], failures)


def without_referenced(
    delivery: Delivery, dataset: str, rule: Rule, failures: Failures, deleted: Any, *, moved: bool
) -> None:
    """Rows of the delivery whose reference names no row.

    `deleted` are the rows of the referenced dataset that this delivery deletes. Rows that name one of them do not
    count, but, with `moved`, those that did not before.
    """
    column = rule.columns[0]
    target = delivery.datasets[dataset].references[column]
    key = delivery.schemas[target].key[0]
    joined = sql.SQL("LEFT JOIN {} AS p ON {}").format(image_table(target), _equal("p", key, "m", column))
    missing = [
        sql.SQL("{} IS NOT NULL").format(sql.Identifier("m", column)),
        sql.SQL("{} IS NULL").format(sql.Identifier("p", key)),
    ]
    # Of a dataset that begins anew in another shape nobody knows which rows it lost.
    everything = target in delivery.restarted and not moved
    but = None if everything or not len(deleted) else (column, deleted, moved)
    for rows in _delivered(delivery, dataset, but, everything=everything):
        _take(delivery, dataset, (column,), rows, joined, missing, failures)


def orphans(delivery: Delivery, dataset: str, rule: Rule, failures: Failures, *, once: bool) -> None:
    """Rows whose reference names a row that the delivery deletes; what is held back for them is that deletion.

    With `once`, one row for each deletion. Of a dataset all of whose rows are delivered, there are none:
    `without_referenced` finds them.
    """
    column = rule.columns[0]
    target = delivery.datasets[dataset].references[column]
    schema = delivery.schemas[dataset]
    if dataset in delivery.new:
        return
    distinct = sql.SQL("DISTINCT ON (d.k0)") if once else sql.SQL("")
    for keys in delivery.deleted(target):
        _by_index(delivery.image, few=True)
        query = sql.SQL(
            "SELECT count(*) OVER (), * FROM (SELECT {distinct} d.k0, {keys} FROM {given} JOIN {image} AS m"
            " ON {hash} = pg_catalog.hashtextextended(d.k0, 0) AND {column} = d.k0) AS found LIMIT {most}"
        ).format(
            distinct=distinct,
            keys=_columns("m", schema.key),
            given=_given(keys, 1),
            image=image_table(dataset),
            hash=_hash(column, "m"),
            column=sql.Identifier("m", column),
            most=max(1, failures.room),
        )
        rows = delivery.image.execute(query).fetchall()
        if rows:
            found = [Offender(tuple(key), ((column, gone),), (target, (gone,))) for _, gone, *key in rows]
            failures.add(rows[0][0], found)


def deleted_keys(delivery: Delivery, target: str) -> Any:
    """Keys that the delivery deletes of a dataset with a key of one column."""
    return pa.array([key for keys in delivery.deleted(target) for (key,) in keys], pa.string())


def _delivered(
    delivery: Delivery, dataset: str, but: tuple[str, Any, bool] | None = None, *, everything: bool = False
) -> Iterator[list[Key] | None]:
    """Keys of rows that are delivered, in batches; None stands for every row of the image.

    `but` leaves out the rows in which a column has one of these values; True: only where it had it before.
    """
    if everything or dataset in delivery.new:
        yield None
        return
    schema = delivery.schemas[dataset]
    for piece in delivery.changes(dataset):
        rows = piece.filter(pc.not_equal(piece[OP], pa.scalar(Op.DELETE.value)))
        if but is not None:
            column, values, only_before = but
            left_out: Any = pc.is_in(rows[(BEFORE if only_before else AFTER) + column], values)
            if only_before:
                same: Any = pc.fill_null(pc.equal(rows[BEFORE + column], rows[AFTER + column]), pa.scalar(value=False))
                left_out = pc.and_(left_out, same)
            rows = rows.filter(pc.invert(left_out))
        if rows.num_rows:
            yield keys_of(rows, schema)


def _take(
    delivery: Delivery,
    dataset: str,
    columns: Sequence[str],
    keys: list[Key] | None,
    joined: sql.Composable,
    conditions: Iterable[sql.Composable],
    failures: Failures,
) -> None:
    schema = delivery.schemas[dataset]
    _by_index(delivery.image, few=keys is not None)
    relation: sql.Composable = sql.SQL("{} AS m").format(image_table(dataset))
    if keys is not None:
        matches = [
            sql.SQL("{} = {}").format(sql.Identifier("m", name), sql.Identifier("d", f"k{at}"))
            for at, name in enumerate(schema.key)
        ]
        relation = sql.SQL("{} JOIN {} ON {}").format(_given(keys, len(schema.key)), relation, _all(matches))
    query = sql.SQL("SELECT count(*) OVER (), {}, {} FROM {} {} WHERE {} LIMIT {}").format(
        _columns("m", schema.key),
        _columns("m", columns),
        relation,
        joined,
        _all(conditions),
        max(1, failures.room),
    )
    rows = delivery.image.execute(query).fetchall()
    if rows:
        width = len(schema.key) + 1
        found = []
        for row in rows:
            key = tuple(row[1:width])
            found.append(Offender(key, tuple(zip(columns, row[width:], strict=True)), (dataset, key)))
        failures.add(rows[0][0], found)


def _by_index(image: psycopg.Connection, *, few: bool) -> None:
    """The planner would rather read all of an image than look ten thousand keys up."""
    value = sql.SQL("off" if few else "on")
    image.execute(sql.SQL("SET LOCAL enable_hashjoin = {}; SET LOCAL enable_mergejoin = {}").format(value, value))


def _given(keys: Sequence[Key], width: int) -> sql.Composed:
    """Keys as literals: beside parameters, a `%` in a column's name would be taken for one."""
    columns = sql.SQL(", ").join(
        sql.SQL("(key ->> {}) AS {}").format(sql.Literal(at), sql.Identifier(f"k{at}")) for at in range(width)
    )
    written = sql.Literal(json.dumps(keys, ensure_ascii=False))
    return sql.SQL("(SELECT {} FROM json_array_elements({}::json) AS e(key)) AS d").format(columns, written)


def _hash(column: str, of: str = "") -> sql.Composed:
    named = sql.Identifier(of, column) if of else sql.Identifier(column)
    return sql.SQL("pg_catalog.hashtextextended({}, 0)").format(named)


def _columns(of: str, names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(of, name) for name in names)


def _equal(of: str, name: str, other: str, its: str) -> sql.Composed:
    return sql.SQL("{} = {}").format(sql.Identifier(of, name), sql.Identifier(other, its))


def _all(conditions: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions)
