"""Which rows an environment has to do without, so that its systems need not take those that do not fit.

Mostly that is the very row. A column that is read through a reference is another row's: where that does not fit, the
referenced row is put back as well, and the referencing one changes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from distributor.ledger.quarantine import HeldRow
from distributor.mapping.expressions import names, parsed
from distributor.mapping.tables import SystemMapping, is_joined, unjoined
from distributor.model.manifest import Manifest
from distributor.store.base import Store
from distributor.store.chain import Chain
from distributor.store.chunks import AFTER, BEFORE
from distributor.store.compose import net_delta

Key = tuple[str, ...]
Rows = Mapping[str, set[Key]]
"""Dataset → keys of some of its rows."""
References = Mapping[str, Mapping[str, str]]
"""Dataset → its referencing columns → the datasets whose rows they name."""


def touched(store: Store, chain: Chain, to: Manifest, rows: Rows, *, joined: bool = False) -> dict[str, set[Key]]:
    """Which of these rows differ between both ends of a chain; with `joined`, also by what is read through their
    references. Over a change of shape back nobody knows: there no row does. Raises StoreError."""
    found: dict[str, set[Key]] = {}
    for schema in to.schemas:
        if is_joined(schema.dataset) and not joined:
            continue
        keys = rows.get(unjoined(schema.dataset))
        if not keys or chain.lost(schema.dataset):
            continue
        for piece in net_delta(store, chain, schema):
            sides = [[piece[side + name].to_pylist() for name in schema.key] for side in (BEFORE, AFTER)]
            differing = {key for side in sides for key in zip(*side, strict=True)} & keys
            if differing:
                found.setdefault(unjoined(schema.dataset), set()).update(differing)
    return found


def put_back(
    store: Store,
    chain: Chain,
    to: Manifest,
    held: Sequence[HeldRow],
    mappings: Mapping[str, SystemMapping],
    references: References,
) -> list[dict[str, set[Key]]]:
    """For each row that is held back, what is put back for it; nothing where an environment would lose nothing of it.

    The chain leads from what the environment shows to the release. Raises StoreError.
    """
    read = [row for row in held if reads_another(mappings[row.system], row.table, row.column)]
    named = _referenced(store, chain, to, read, references)
    wanted: dict[str, set[Key]] = {}
    for dataset, key in [*((row.dataset, row.key) for row in held), *(one for many in named.values() for one in many)]:
        wanted.setdefault(dataset, set()).add(key)
    differing = touched(store, chain, to, wanted) if wanted else {}
    through = {(row.dataset, row.key) for row in read}
    return [
        _grouped(
            (dataset, key)
            for dataset, key in (
                (row.dataset, row.key),
                *(named.get((row.dataset, row.key), ()) if (row.dataset, row.key) in through else ()),
            )
            if key in differing.get(dataset, ())
        )
        for row in held
    ]


def together(parts: Iterable[Rows]) -> dict[str, set[Key]]:
    """All of them."""
    return _grouped((dataset, key) for part in parts for dataset, keys in part.items() for key in keys)


def reads_another(mapping: SystemMapping, table: str, column: str) -> bool:
    """Whether a column of a system's table, or its `where`, reads a referenced row."""
    for one in mapping.tables:
        if one.into == table:
            texts = [entry.expr for entry in one.columns if entry.name == column and entry.expr != "*"]
            texts += [one.where] if column == "where" and one.where else []
            return any(one.is_foreign(name.of) for text in texts for name in names(parsed(text, one.where_of())))
    return False


def _referenced(
    store: Store, chain: Chain, to: Manifest, held: Sequence[HeldRow], references: References
) -> dict[tuple[str, Key], set[tuple[str, Key]]]:
    """Row → the rows that it names, as it would be put back, through references that somebody reads."""
    found: dict[tuple[str, Key], set[tuple[str, Key]]] = {}
    for schema in to.schemas:
        dataset = unjoined(schema.dataset)
        keys = {row.key for row in held if row.dataset == dataset}
        if not is_joined(schema.dataset) or not keys or chain.lost(schema.dataset):
            continue
        own = references.get(dataset, {})
        columns = [name for name in own if any(read.startswith(f"{name}.") for read in schema.column_names)]
        for piece in net_delta(store, chain, schema):
            of = zip(*(piece[BEFORE + name].to_pylist() for name in schema.key), strict=True)
            mask = pa.array([key in keys for key in of], pa.bool_())
            for row in piece.filter(mask).to_pylist():
                place = (dataset, tuple(row[BEFORE + name] for name in schema.key))
                values = {(own[name], (row[BEFORE + name],)) for name in columns if row[BEFORE + name] is not None}
                found.setdefault(place, set()).update(values)
    return found


def _grouped(rows: Iterable[tuple[str, Key]]) -> dict[str, set[Key]]:
    found: dict[str, set[Key]] = {}
    for dataset, key in rows:
        found.setdefault(dataset, set()).add(key)
    return found
