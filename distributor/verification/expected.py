"""What a release says of leaves, rows and whole rows: from the released image, computed in SQL, in one snapshot.

The image is of the newest release. For an older one, or for a variant, the net delta of the chain from there to it is
laid over it: keys that it touches are left out of the image, and their rows come from the delta. The image is in clear:
of an edition all rows come from its own store. Rows of a table that is not the dataset as it is go through the table's
mapping on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from sqlalchemy import Engine

from distributor.capture.fixed import clear_errors
from distributor.errors import DistributorError
from distributor.ledger import releases
from distributor.ledger.engine import transaction
from distributor.mapping.compiled import Compiled
from distributor.model.certificate import BUCKETS, LANE, TableCertificate
from distributor.model.dataset import DatasetSchema
from distributor.publishing.image import image_table
from distributor.requests.expectations import Content
from distributor.store.base import Store
from distributor.store.chain import Chain, walk
from distributor.store.chunks import AFTER, BEFORE, OP, Op
from distributor.store.compose import net_delta
from distributor.store.ways import Ways
from distributor.verification.answers import Key, Lanes, Sum
from distributor.verification.comparison import bucket_of_leaf, differing, folded, sums_of
from distributor.verification.shaped import shaped, summed

_WHERE = "ledger, released image"
_MOST_OCTETS = 128
_PIECE_ROWS = 10_000
# Keeps the planner from writing an expression out once for each use, as OFFSET 0 would; but that also keeps a scan from
# being shared among workers. Volatile, parallel safe, and cheap.
_FENCE = sql.SQL("pg_is_in_recovery() AS fence")
_BYTES_ARE_NUMBERS = 180000
"""The server's version from which on octets are cast to integers."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A dataset in a content. `older` names the tables that are laid over the image; None: the image itself. `alone`:
    they have all of its rows, because the image is of another shape."""

    schema: DatasetSchema
    older: int | None
    alone: bool = False


class Expected:
    """The expected side of a verification. `store` is that of the environment. Not for several threads."""

    def __init__(self, conn: psycopg.Connection, store: Store, head: releases.ReleaseRecord) -> None:
        self._conn = conn
        self._store = store
        self._head = head
        self._is_edition = not store.holds(head.manifest)
        self._sources: dict[tuple[str | None, str], _Source] = {}
        if conn.info.server_version >= _BYTES_ARE_NUMBERS:
            self._hash, lanes = sql.SQL("decode({}, 'hex')"), ("substr(hash, 1, 8)", "substr(hash, 9, 8)")
        else:
            self._hash, lanes = sql.SQL("('x' || {})::bit(128)"), ("hash::bit(64)", "(hash << 64)::bit(64)")
        self._lanes = [sql.SQL(lane + "::bigint") for lane in lanes]

    def leaves(self, content: Content, dataset: str, buckets: Collection[int]) -> dict[int, Sum]:
        """Rows and lanes per leaf, of all leaves with rows in the given buckets.

        Raises DistributorError when the image is not what the manifest's certificate says.
        """
        source, only = self._source(content, dataset), set(buckets)
        octets = _octets(only)
        # To hash every row at once is quicker than to look first which are wanted, when most are.
        wanted = octets if len(octets) < _MOST_OCTETS else None
        query = sql.SQL("SELECT leaf, count(*), sum({}), sum({}) FROM {} GROUP BY leaf").format(
            *self._lanes, self._hashes(source, wanted)
        )
        found = {
            int(leaf, 16): (rows, int(first) % LANE, int(second) % LANE)
            for leaf, rows, first, second in self._rows_of(query)
        }
        found = {leaf: sums for leaf, sums in found.items() if bucket_of_leaf(leaf) in only}
        assert content.manifest is not None
        _check_image(content, dataset, found, content.manifest.certificate.tables[dataset], only)
        return found

    def shaped_leaves(
        self, content: Content, table: Compiled, certified: TableCertificate, buckets: Collection[int]
    ) -> dict[int, Sum]:
        """The same of a mapped table, whose expected certificate is given."""
        only = set(buckets)
        found = summed(shaped(table, self._pieces(content, table.source.dataset, _octets(only))))
        found = {leaf: sums for leaf, sums in found.items() if bucket_of_leaf(leaf) in only}
        _check_image(content, table.source.dataset, found, certified, only)
        return found

    def shaped_rows(self, content: Content, table: Compiled, leaves: Collection[int]) -> dict[Key, Lanes]:
        """Key → lanes of every row of a mapped table in the given leaves."""
        digits = [f"{leaf:04x}" for leaf in sorted(leaves)]
        return dict(shaped(table, self._pieces(content, table.source.dataset, digits)))

    def rows(self, content: Content, dataset: str, leaves: Collection[int]) -> dict[Key, Lanes]:
        """Key → lanes of every row of the given leaves."""
        source = self._source(content, dataset)
        query = sql.SQL("SELECT {}, {}, {} FROM {}").format(
            sql.SQL(", ").join(_c(at) for at in source.schema.key_positions),
            *self._lanes,
            self._hashes(source, [f"{leaf:04x}" for leaf in sorted(leaves)]),
        )
        return {tuple(key): (first % LANE, second % LANE) for *key, first, second in self._rows_of(query)}

    def whole(self, content: Content, dataset: str, keys: Sequence[Key]) -> dict[Key, Sequence[Any]]:
        """Key → all columns, of those of the keys that the release has."""
        source = self._source(content, dataset)
        schema = source.schema
        given = sql.SQL("unnest({}) AS d({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::text[]").format([key[at] for key in keys]) for at in range(len(schema.key))
            ),
            sql.SQL(", ").join(_c(at) for at in range(len(schema.key))),
        )
        matches = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("d", f"c{at}"))
            for at, name in enumerate(schema.key)
        )
        # A key is looked up by the index; the planner would rather read all of the image.
        self._execute(sql.SQL("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"))
        query = sql.SQL("SELECT {} FROM {} JOIN {} ON {}")
        columns = sql.SQL(", ").join(sql.Identifier("t", name) for name in schema.column_names)
        found: dict[Key, Sequence[Any]] = {}
        for rows in self._places(source):
            for row in self._rows_of(query.format(columns, given, rows, matches)):
                found[tuple(row[at] for at in schema.key_positions)] = row
        self._execute(sql.SQL("SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"))
        return found

    def _hashes(self, source: _Source, wanted: Sequence[str] | None) -> sql.Composed:
        """A relation of rows: leaf (four hex digits), columns (c0, …), hash of the row text.

        `wanted`: only rows whose leaf begins with one of these digits, all of one length; no other row is hashed.
        """
        schema = source.schema
        columns = [_c(at) for at in range(len(schema.columns))]
        name = sql.Literal(f"{len(schema.dataset.encode())}:{schema.dataset}")
        row = sql.SQL("md5({})").format(sql.SQL(" || ").join([name, *map(_field, columns)]))
        return sql.SQL("(SELECT {}, leaf, {} AS hash, {} FROM {}) AS hashes").format(
            sql.SQL(", ").join(columns), self._hash.format(row), _FENCE, self._placed(source, wanted)
        )

    def _placed(self, source: _Source, wanted: Sequence[str] | None) -> sql.Composed:
        """The rows with their leaves, and with a condition behind it."""
        columns = [_c(at) for at in range(len(source.schema.columns))]
        key = sql.SQL(" || ").join(_field(columns[at]) for at in source.schema.key_positions)
        rows = sql.SQL("(SELECT {}, substr(md5({}), 1, 4) AS leaf, {} FROM {}) AS placed").format(
            sql.SQL(", ").join(columns), key, _FENCE, self._relation(source)
        )
        if wanted is None:
            return rows
        length = len(wanted[0]) if wanted else 0
        return sql.SQL("{} WHERE left(leaf, {}) = ANY({}::text[])").format(rows, length, list(wanted))

    def _pieces(self, content: Content, dataset: str, wanted: Sequence[str]) -> Iterator[pa.Table]:
        """Whole rows of the leaves that begin with one of these digits, in the dataset's columns."""
        source = self._source(content, dataset)
        names = source.schema.column_names
        listed = sql.SQL(", ").join(_c(at) for at in range(len(names)))
        query = sql.SQL("SELECT {} FROM {}").format(listed, self._placed(source, wanted))
        with clear_errors(_WHERE), self._conn.cursor("pieces") as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(_PIECE_ROWS):
                columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
                yield pa.table(columns, names=list(names))

    def _relation(self, source: _Source) -> sql.Composed:
        """A dataset's rows as columns c0, c1, …"""
        names = [sql.Identifier("t", name) for name in source.schema.column_names]
        columns = sql.SQL(", ").join(sql.SQL("{} AS {}").format(name, _c(at)) for at, name in enumerate(names))
        parts = [sql.SQL("SELECT {} FROM {}").format(columns, rows) for rows in self._places(source)]
        return sql.SQL("({}) AS rows").format(sql.SQL(" UNION ALL ").join(parts))

    def _places(self, source: _Source) -> Iterator[sql.Composed]:
        """What a dataset's rows are read from, each under the alias `t`; no key is in two of them."""
        image = image_table(source.schema.dataset)
        if source.older is None:
            yield sql.SQL("{} AS t").format(image)
            return
        if source.alone:
            yield sql.SQL("{} AS t").format(_older(source.older))
            return
        same = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("o", f"c{at}"), sql.Identifier("m", name))
            for at, name in enumerate(source.schema.key)
        )
        yield sql.SQL("(SELECT m.* FROM {} AS m WHERE NOT EXISTS (SELECT FROM {} AS o WHERE {})) AS t").format(
            image, _touched(source.older), same
        )
        yield sql.SQL("{} AS t").format(_older(source.older))

    def _source(self, content: Content, dataset: str) -> _Source:
        place = (content.sha256, dataset)
        if place not in self._sources:
            number = None if content.sha256 == self._head.manifest else len(self._sources)
            assert content.manifest is not None
            source = _Source(content.manifest.schema_of(dataset), number)
            if number is not None:
                source = self._lay_over(content, source, number)
            self._sources[place] = source
        return self._sources[place]

    def _lay_over(self, content: Content, source: _Source, number: int) -> _Source:
        """Fills the two tables of what differs between the newest release and another content; where the dataset has
        another shape there, of all that it has."""
        schema = source.schema
        chain, alone = self._way(content, schema.dataset)
        keys = [_c(at) for at in range(len(schema.key))]
        columns = [sql.Identifier(name) for name in schema.column_names]
        for table, names in ((_touched(number), keys), (_older(number), columns)):
            texts = sql.SQL(", ").join(sql.SQL('{} text COLLATE "C"').format(name) for name in names)
            self._execute(sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(table, texts))
        for delta in net_delta(self._store, chain, schema):
            touched = [pc.coalesce(delta[BEFORE + name], delta[AFTER + name]) for name in schema.key]
            self._insert(_touched(number), touched)
            there = delta.filter(pc.not_equal(delta[OP], pa.scalar(Op.DELETE.value)))
            self._insert(_older(number), [there[AFTER + name] for name in schema.column_names])
        for table, names in ((_touched(number), keys), (_older(number), [sql.Identifier(n) for n in schema.key])):
            self._execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(table, sql.SQL(", ").join(names)))
            self._execute(sql.SQL("ANALYZE {}").format(table))
        return replace(source, alone=alone)

    def _way(self, content: Content, dataset: str) -> tuple[Chain, bool]:
        """From the image, or from nothing where it is of other rows."""
        if not self._is_edition:
            chain = walk(self._store, content.sha256, content.release, self._head.manifest, self._head.number)
            if not (chain.lost(dataset) or chain.restarts(dataset)):
                return chain, False
        return Ways(self._store, content.sha256, content.release).anew(), True

    def _insert(self, table: sql.Composable, columns: Sequence[Any]) -> None:
        arrays = sql.SQL(", ").join(sql.SQL("%b::text[]") for _ in columns)
        statement = sql.SQL("INSERT INTO {} SELECT * FROM unnest({})").format(table, arrays)
        self._execute(statement, [column.to_pylist() for column in columns])

    def _execute(self, statement: sql.SQL | sql.Composed, values: Sequence[Any] | None = None) -> None:
        with clear_errors(_WHERE):
            self._conn.execute(statement, values)

    def _rows_of(self, query: sql.Composed) -> list[Any]:
        with clear_errors(_WHERE):
            return self._conn.execute(query).fetchall()


@contextmanager
def expected_side(engine: Engine, store: Store) -> Iterator[Expected]:
    """Opens a snapshot of the ledger; nothing in it is kept. Raises UnreachableError, StoreError."""
    repeatable = engine.execution_options(isolation_level="REPEATABLE READ")
    with transaction(repeatable) as conn:
        head = releases.head(conn)
        assert head is not None
        raw = conn.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        # One big scan and 65,536 groups: compiling takes longer than it saves, and groups belong into memory.
        raw.execute("SET LOCAL jit = off; SET LOCAL work_mem = '64MB'")
        yield Expected(raw, store, head)


def _check_image(
    content: Content, dataset: str, found: Mapping[int, Sum], certified: TableCertificate, only: Collection[int]
) -> None:
    if differing(folded(found), {bucket: sums for bucket, sums in sums_of(certified).items() if bucket in only}):
        raise DistributorError(
            f"the released image of {dataset} is not as release {content.release} is certified: it was altered",
            where=_WHERE,
            mend="Restore the ledger's database from a backup; what systems store is not compared with this.",
        )


def _octets(buckets: Collection[int]) -> list[str]:
    return [f"{octet:02x}" for octet in range(256) if octet % BUCKETS in buckets]


def _field(text: sql.Composable) -> sql.Composed:
    return sql.SQL("coalesce(octet_length({}) || ':' || {}, '-')").format(text, text)


def _c(at: int) -> sql.Identifier:
    return sql.Identifier(f"c{at}")


def _touched(number: int) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"touched_{number}")


def _older(number: int) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"older_{number}")
