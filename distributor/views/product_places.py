"""What environments and their systems show of one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from distributor.errors import ConfigError, SchemaError
from distributor.mapping.tables import is_joined
from distributor.views.base import View
from distributor.views.quarantine import HeldLine

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.quarantine import HeldRow
    from distributor.mapping.compiled import Compiled
    from distributor.mapping.tables import TableMapping
    from distributor.masking.policy import Policy
    from distributor.model.dataset import DatasetSchema
    from distributor.settings import Settings
    from distributor.store.base import Store
    from distributor.views.lookback import Lookback, Row, Value
    from distributor.views.places import Place


class ProductTable(View):
    """What the mapping of a system makes of the row."""

    table: str
    """The table, as the system calls it."""
    row: dict[str, str | None] | None
    """Its columns → canonical texts, as the mapping of the config makes them; null when the table has no such row, or
    that is not known."""
    why: str
    """Why there is no row; empty when there is one."""


class ProductInSystem(View):
    """The row in one system."""

    system: str
    """The system."""
    requirement: str
    """`required`, `optional`, `joining` or `detached`."""
    release: int
    """The release that its readers see."""
    tables: tuple[ProductTable, ...]
    """Its tables that are made of this dataset."""


class ProductInEnvironment(View):
    """The row in one environment."""

    environment: str
    """The environment."""
    release: int
    """The release that it shows; 0 is empty."""
    variant: bool
    """Whether it shows that release without some rows that a system cannot take."""
    known: bool
    """Whether it is known what it shows; false when its release lies further back than was looked, or was taken under
    another masking policy than the config has now."""
    masked: str | None
    """The masking policy under which it sees the row; null when it does in clear."""
    row: dict[str, str | None] | None
    """The row as it shows it: column → canonical text; null when it has none, or that is not known."""
    held_back: tuple[HeldLine, ...]
    """Why a newer state of the row is held back; empty when it is not."""
    systems: tuple[ProductInSystem, ...]
    """Its systems."""


@dataclass
class Placing:
    """The row of one dataset in environments and systems. `schemas`: the shapes of all datasets; `lookbacks`: dataset,
    plain or joined → what is known of its row in clear."""

    conn: Connection
    settings: Settings
    dataset: str
    schemas: Mapping[str, DatasetSchema]
    lookbacks: Mapping[str, Lookback]
    _masked: dict[str, Mapping[str, Lookback]] = field(default_factory=dict)
    _shaped: dict[tuple[str, tuple[str | None, ...]], ProductTable] = field(default_factory=dict)

    def environments(self, found: Sequence[Place]) -> tuple[ProductInEnvironment, ...]:
        """The row in each of them. Raises StoreError."""
        from distributor.ledger.quarantine import held

        kept = held(self.conn, None, [self.dataset])
        return tuple(self._environment(place, kept) for place in found)

    def lookback(self, place: Place) -> Lookback | None:
        """What is known of the row as an environment sees it; None when its masking policy cannot be had."""
        return self._under(place).get(self.dataset)

    def _environment(self, place: Place, kept: Sequence[HeldRow]) -> ProductInEnvironment:
        from distributor.ledger.quarantine import EVERYWHERE
        from distributor.views.lookback import UNKNOWN

        lookback, clear = self.lookback(place), self.lookbacks[self.dataset]
        value = lookback.value_at(place.shown) if lookback and place.shown else UNKNOWN
        keys = {EVERYWHERE: clear.values, place.state.name: lookback.values if lookback else None}
        return ProductInEnvironment(
            environment=place.state.name,
            release=place.state.shown,
            variant=bool(lookback and place.shown and lookback.is_variant(place.shown)),
            known=value is not UNKNOWN,
            masked=place.policy.name if place.policy else None,
            row=plain_row(value),
            held_back=tuple(HeldLine.of(row) for row in kept if row.key == keys.get(row.environment)),
            systems=tuple(self._systems(place)),
        )

    def _systems(self, place: Place) -> Iterator[ProductInSystem]:
        for system, member in sorted(place.state.members.items()):
            if system not in self.settings.environment(place.state.name).systems:
                continue
            mapping = self.settings.mapping(system, place.state.name)
            tables = [table for table in mapping.tables if table.dataset == self.dataset]
            yield ProductInSystem(
                system=system,
                requirement=member.requirement.value,
                release=member.shows,
                tables=tuple(self._table(place, system, table, member.shows) for table in tables),
            )

    def _table(self, place: Place, system: str, table: TableMapping, release: int) -> ProductTable:
        from distributor.mapping.compiled import compile_table
        from distributor.store.chunks import read_manifest
        from distributor.views.lookback import Unknown

        position = place.positions[release]
        if position is None:
            return _without(table, f"release {release} was taken under another masking policy than the config has now")
        if position.sha256 is None:
            return _without(table, "nothing is shown yet")
        schemas = {schema.dataset: schema for schema in read_manifest(place.store, position.sha256).schemas}
        lookback = self._under(place).get(table.source)
        if table.source not in schemas or lookback is None:
            beside = ", together with what it references" if is_joined(table.source) else ""
            return _without(table, f"release {release} does not carry {table.dataset}{beside}")
        value = lookback.value_at(position)
        if isinstance(value, Unknown):
            return _without(table, f"release {release} lies further back than was looked")
        if value is None:
            return _without(table, f"release {release} has no such row")
        try:
            compiled = compile_table(system, table, schemas[table.source])
        except (ConfigError, SchemaError) as error:
            return _without(table, str(error))
        return self._made(compiled, value)

    def _under(self, place: Place) -> Mapping[str, Lookback]:
        if place.policy is None:
            return self.lookbacks
        if place.policy.version not in self._masked:
            self._masked[place.policy.version] = self._masking(place.policy, place.store)
        return self._masked[place.policy.version]

    def _masking(self, policy: Policy, store: Store) -> Mapping[str, Lookback]:
        """The same row in the editions of a policy, under the key that it has there."""
        from distributor.masking.compiled import compiled
        from distributor.store.chain import Manifests
        from distributor.views.lookback import Budget, Lookback

        own = {name: schema for name, schema in self.schemas.items() if not is_joined(name)}
        try:
            masks = compiled(policy, own, self.settings.references).get(self.dataset, {})
        except ConfigError:
            return {}
        clear = self.lookbacks[self.dataset].key
        try:
            key = {name: str(masks[name](text)) if name in masks else text for name, text in clear.items()}
        except (ValueError, ArithmeticError):
            return {}  # no key of this dataset is such a text
        manifests = Manifests(store)
        return {name: Lookback(manifests, name, key, Budget()) for name in self.lookbacks}

    def _made(self, compiled: Compiled, row: Row) -> ProductTable:
        values = tuple(row.get(name) for name in compiled.source.column_names)
        place = (compiled.fingerprint, values)
        if place not in self._shaped:
            self._shaped[place] = _shaped(compiled, values)
        return self._shaped[place].model_copy(update={"table": compiled.name})


def plain_row(value: Value) -> dict[str, str | None] | None:
    """A row as documents have it."""
    from distributor.views.lookback import Unknown

    return None if value is None or isinstance(value, Unknown) else dict(value)


def _without(table: TableMapping, why: str) -> ProductTable:
    return ProductTable(table=table.into, row=None, why=why)


def _shaped(compiled: Compiled, values: tuple[str | None, ...]) -> ProductTable:
    """One row through a mapping, as publisher and consumers take it through."""
    import pyarrow as pa

    from distributor.shaping.engine import Engine

    names = compiled.source.column_names
    rows = pa.table({name: pa.array([value], pa.string()) for name, value in zip(names, values, strict=True)})
    engine = Engine(compiled)
    try:
        shaped = engine.shape(rows)
    finally:
        engine.close()
    if shaped.unfit:
        return _without(compiled.mapping, str(shaped.unfit[0]))
    if not shaped.kept[0].as_py():
        return _without(compiled.mapping, f"left out: its condition is {compiled.mapping.where}")
    return ProductTable(table=compiled.name, row=shaped.rows.to_pylist()[0], why="")
