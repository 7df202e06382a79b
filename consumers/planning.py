"""How a slot gets from what it holds to what is wanted: a value, worked out before anything is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from consumers.adapters.base import TableSpec
from distributor.errors import StoreError
from distributor.mapping.compiled import compile_system, expected_of
from distributor.mapping.tables import SystemMapping
from distributor.model.certificate import EMPTY_TABLE, Certificate
from distributor.model.dataset import schemas_fingerprint
from distributor.model.manifest import Manifest
from distributor.model.repair import Repair
from distributor.rollout.member_row import Slot, SlotIdentity
from distributor.store.chain import Chain
from distributor.store.ways import Ways


@dataclass(frozen=True, slots=True)
class Target:
    """What a slot shall hold. `manifest` is the sha256; it and `identity` are None for release 0, which is empty.

    `expected` is the certificate of exactly that content, as the release's manifest has it; None where it was made
    before the mapping was known.
    """

    release: int
    identity: SlotIdentity | None
    manifest: str | None
    tables: tuple[TableSpec, ...]
    expected: Certificate | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A chain, applied to a slot whose certificate is `base`.

    `rebuild` says why every table is emptied first, so that the chain starts from nothing; "" for a plain delta.
    `repair` is laid over what the slot holds, before the chain, or after it when it `ends` the way: then nobody knows
    what the slot held before, and only an audit of all of it gives its certificate.
    `anew` are the tables that change their shape on the way: they alone are emptied first, and are not in `base`.
    """

    chain: Chain
    base: Certificate
    rebuild: str = ""
    repair: Repair | None = None
    ends: bool = False
    anew: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """Rows of all changesets on the way: the work, from above."""
        return self.chain.rows + (self.repair.rows if self.repair else 0)


def target_of(mapping: SystemMapping, release: int, sha256: str | None, manifest: Manifest | None) -> Target:
    """The target of a command. `manifest` gives the tables' shapes: the release's own, or for release 0 any known one.

    Only the shapes that this system holds count for its identity. Raises SchemaError when the release lacks a dataset,
    ConfigError when the mapping does not fit its columns.
    """
    if manifest is None:
        return Target(release, None, sha256, (), empty_certificate(mapping))
    tables = tuple(
        TableSpec(compiled.mapping, compiled.schema, compiled) for compiled in compile_system(mapping, manifest)
    )
    fingerprint = schemas_fingerprint(tuple(table.schema for table in tables))
    variant = sha256 if manifest.is_variant and sha256 else ""
    identity = SlotIdentity(release=release, mapping=mapping.version, schema_=fingerprint, variant=variant)
    if not release:
        return Target(release, None, sha256, tables, empty_certificate(mapping))
    return Target(release, identity, sha256, tables, expected_of(mapping, manifest))


def plan(
    slot: Slot,
    target: Target,
    ways: Ways,
    read: Callable[[str], Certificate] = Certificate.model_validate_json,
    repair: Repair | None = None,
) -> Plan:
    """The cheapest way, by rows. A torn slot, another mapping, or a former shape leave only the rebuild; so does a slot
    in doubt without a `repair` list of the release that it holds, or of the target.

    `read` gives the certificate for its JSON in the slot. Raises StoreError when no chain reaches the target.
    """
    reason = _must_rebuild(slot, target) or _must_doubt(slot, target, repair)
    if not reason:
        assert slot.identity is not None
        try:
            chain = ways.delta(slot.manifest, slot.identity.release)
        except StoreError as error:
            # The target may still be reachable from nothing: a slot of another history is no reason to refuse.
            reason = str(error)
        else:
            ends = repair is not None and (repair.release, repair.manifest) != (slot.release, slot.manifest)
            anew = frozenset(table.name for table in target.tables if chain.restarts(_source(table)))
            base = Certificate(tables={n: c for n, c in read(slot.certificate).tables.items() if n not in anew})
            delta = Plan(chain, base, repair=repair if slot.doubt else None, ends=ends, anew=anew)
            reason = _wrong_shape(slot, target, delta)
            if not reason:
                return _cheaper(delta, target, ways)
    return rebuild_of(target, ways, reason)


def rebuild_of(target: Target, ways: Ways, why: str) -> Plan:
    """From nothing, whatever the slot holds. Raises StoreError when no chain reaches the target."""
    return _from_nothing(target, ways.anew(), why)


def _from_nothing(target: Target, chain: Chain, why: str) -> Plan:
    empty = Certificate(tables={table.name: EMPTY_TABLE for table in target.tables})
    return Plan(chain, base=empty, rebuild=why)


def _cheaper(delta: Plan, target: Target, ways: Ways) -> Plan:
    try:
        chain = ways.shorter(delta.rows)
    except StoreError:
        # What leads there from nothing is gone: that matters only where nothing else does.
        return delta
    return delta if chain is None else _from_nothing(target, chain, "fewer rows than from what it holds")


def empty_certificate(mapping: SystemMapping) -> Certificate:
    """What a slot holds that nothing was ever loaded into: every table, without rows."""
    return Certificate(tables={table.into: EMPTY_TABLE for table in mapping.tables})


def _must_rebuild(slot: Slot, target: Target) -> str:
    if target.identity is None:
        return "release 0 is empty"
    if slot.identity is None:
        return "the slot is empty"
    if not slot.intact:
        return "the slot is torn"
    if slot.identity.mapping != target.identity.mapping:
        return "the mapping changed"
    return "" if slot.certificate else "the slot has no certificate"


def _wrong_shape(slot: Slot, target: Target, delta: Plan) -> str:
    """Why a delta does not lead to the target's shapes: only a restart of the dataset leads to another one."""
    lost = [table.name for table in target.tables if delta.chain.lost(_source(table))]
    if lost:
        return f"there is no way back to the former shape of {', '.join(lost)}"
    assert slot.identity is not None
    assert target.identity is not None
    if slot.identity.schema_ != target.identity.schema_ and not delta.anew:
        return "the shape of a table changed"
    return ""


def _source(table: TableSpec) -> str:
    """The dataset whose changesets a table reads."""
    return (table.compiled.source if table.compiled else table.schema).dataset


def _must_doubt(slot: Slot, target: Target, repair: Repair | None) -> str:
    if not slot.doubt:
        return ""
    if repair is None:
        return slot.doubt
    mends = (repair.release, repair.manifest)
    if mends in ((slot.release, slot.manifest), (target.release, target.manifest)):
        return ""
    return f"{slot.doubt} (its repair list is of release {repair.release})"
