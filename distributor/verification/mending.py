"""Repair lists: the right rows for the keys that a verification found wrong, put into the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import Engine

from distributor.ledger.engine import transaction
from distributor.model.dataset import DatasetSchema
from distributor.model.manifest import ZERO, Chunk
from distributor.model.repair import Repair
from distributor.requests.taking import taken_content
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.chunks import CHUNK_ROWS, Op, changeset_schema, write_chunk
from distributor.store.editions import store_of
from distributor.verification.answers import Key
from distributor.verification.comparison import in_order
from distributor.verification.expected import expected_side
from distributor.verification.findings import Findings, MemberFinding, Outcome

KeysByDataset = Mapping[str, Sequence[Key]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How what was found can be mended. `lists`: system → its wrong keys; `anew`: system → why no list will do.

    `left_out`: system → why a rollout to the release that is shown cannot mend it.
    """

    lists: Mapping[str, KeysByDataset]
    anew: Mapping[str, str]
    left_out: Mapping[str, str]

    @property
    def systems(self) -> tuple[str, ...]:
        """Who is to be mended."""
        return (*self.lists, *self.anew)

    def keys(self, system: str) -> int | None:
        """How many keys are mended in a system; None: all of it is loaded anew."""
        return None if system in self.anew else sum(map(len, self.lists[system].values()))


def plan(findings: Findings) -> Plan:
    """What a repair would do. Pure."""
    lists: dict[str, KeysByDataset] = {}
    anew: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for member in findings.differing:
        if why := _not_here(member, findings):
            left_out[member.system] = why
        elif any(table.wrong is None for table in member.differing):
            anew[member.system] = "more rows differ than a list is good for"
        else:
            keys = _wrong_keys(member)
            if all(_can_be_listed(key) for found in keys.values() for key in found):
                lists[member.system] = keys
            else:
                anew[member.system] = "rows are stored under keys that no release can have"
    return Plan(lists, anew, left_out)


def write_lists(
    engine: Engine, settings: Settings, store: Store, environment: str, release: int, wanted: Plan
) -> dict[str, str]:
    """System → sha256 of its repair list, which lies where the environment's contents do. Raises StoreError,
    UnreachableError.

    Lists are of datasets' rows, as the environment sees them and whatever a system makes of them.
    """
    if not wanted.lists:
        return {}
    with transaction(engine) as conn:
        content = taken_content(conn, settings, store, environment, release)
    store = store_of(settings, store, environment)
    sha256, manifest = content.sha256, content.manifest
    assert sha256 is not None
    assert manifest is not None
    everything: dict[str, set[Key]] = {}
    for datasets in wanted.lists.values():
        for dataset, keys in datasets.items():
            everything.setdefault(dataset, set()).update(keys)
    with expected_side(engine, store) as side:
        right = {dataset: side.whole(content, dataset, list(keys)) for dataset, keys in everything.items()}
    found = {}
    for system, datasets in wanted.lists.items():
        chunks = [
            chunk
            for dataset, keys in datasets.items()
            for chunk in _chunks(store, manifest.schema_of(dataset), keys, right[dataset])
        ]
        repair = Repair(release=release, manifest=sha256, chunks=tuple(chunks))
        found[system] = store.put(repair.model_dump_json().encode())
    return found


def _not_here(member: MemberFinding, findings: Findings) -> str:
    verification = findings.asked.verification
    if member.outcome is not Outcome.VERIFIED:
        return f"its audit did not come to its end: {member.why}"
    if verification.release == ZERO:
        return "no release is online yet: the first deploy loads everything"
    if member.release != verification.release:
        return (
            f"it shows release {member.release}, not {verification.release}:"
            f" `distributor refresh {verification.environment} --systems {member.system}` brings it level first"
        )
    return ""


def _can_be_listed(key: Key) -> bool:
    """Whether a store finds rows by the key's texts. NULL equals nothing, and a zero octet is in no master's text:
    there a value of another type than the column's is stored, which its text does not give back."""
    return all(value is not None and "\0" not in value for value in key)


def _wrong_keys(member: MemberFinding) -> KeysByDataset:
    found: dict[str, set[Key]] = {}
    for table in member.differing:
        found.setdefault(table.source, set()).update(row.key for row in table.wrong or ())
    return {dataset: sorted(keys, key=in_order) for dataset, keys in sorted(found.items())}


def _chunks(
    store: Store, schema: DatasetSchema, keys: Sequence[Key], right: Mapping[Key, Sequence[Any]]
) -> list[Chunk]:
    return [
        write_chunk(store, schema, _changes(schema, keys[start : start + CHUNK_ROWS], right))
        for start in range(0, len(keys), CHUNK_ROWS)
    ]


def _changes(schema: DatasetSchema, keys: Sequence[Key], right: Mapping[Key, Sequence[Any]]) -> pa.Table:
    """In the columns of a changeset: the whole row as an insert, or a delete with nothing but the key."""
    width = len(schema.columns)
    nothing: list[str | None] = [None] * width
    rows = []
    for key in keys:
        if key in right:
            rows.append([Op.INSERT.value, *nothing, *right[key]])
        else:
            before = list(nothing)
            for at, value in zip(schema.key_positions, key, strict=True):
                before[at] = value
            rows.append([Op.DELETE.value, *before, *nothing])
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return pa.table(columns, schema=changeset_schema(schema))
