"""What a rollout would change in each system, worked out by the steps that it would take, and undone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from distributor.errors import RefusedError
from distributor.ledger import environments, quarantine, releases, rollouts, variants
from distributor.ledger.engine import transaction
from distributor.ledger.quarantine import HeldRow
from distributor.mapping.compiled import Compiled, compile_system
from distributor.requests.contents import shown_content, wanted_content
from distributor.requests.expectations import Content
from distributor.requests.netting import Counted, net, whole
from distributor.requests.rollouts import ask, configured
from distributor.requests.wayfinding import Known, Way, way
from distributor.rollout.state import Cause, Environment, Requirement, RolloutState
from distributor.settings import Settings
from distributor.store.aside import aside
from distributor.store.base import Store
from distributor.store.editions import store_of
from distributor.upkeep.collected import refuse_collected

SAMPLE = 10
_SHORTEST = 8
_HISTORY = 200


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What becomes of one table. `anew` says why all of it is loaded; then its rows are counted as new ones."""

    table: str
    dataset: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    counted: Counted
    anew: str = ""


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """What becomes of one system, and by which way its shadow would get there."""

    system: str
    requirement: Requirement
    mapping: str
    way: Way
    tables: tuple[TablePlan, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout before anybody asks for it. `refused` says why it would be refused at once; nothing is counted then.

    `held_back` are rows that would be held back by it, and are not yet.
    """

    state: Environment
    release: int
    shown: Content
    wanted: Content | None
    systems: tuple[SystemPlan, ...] = ()
    held_back: tuple[HeldRow, ...] = ()
    refused: str = ""

    @property
    def different(self) -> bool:
        """Whether a rollout would change anything that readers see: another content, or tables that are made anew."""
        if self.wanted is None or self.wanted.sha256 != self.shown.sha256:
            return True
        return any(table.anew or table.counted.rows for system in self.systems for table in system.tables)

    @property
    def digest(self) -> str:
        """The same for the same change of the same environment: what `deploy --plan` compares."""
        parts = {
            "environment": self.state.name,
            "from": [self.shown.release, self.shown.sha256],
            "to": [self.release, self.wanted.sha256 if self.wanted else self.refused],
            "systems": {
                system.system: [system.mapping, [_numbers(table) for table in system.tables]] for system in self.systems
            },
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def planned(
    engine: Engine, settings: Settings, store: Store, environment: str, *, release: int | None, sample: int = SAMPLE
) -> Plan:
    """What taking an environment to a release (None: the newest) would change. Nothing is kept of it.

    Raises UsageError for an unknown environment, RefusedError when there is no such release, StoreError.
    """
    with transaction(engine) as conn, _undone(conn, store) as beside:
        state = environments.read(conn, environment)
        if state is None or not state.members:
            state = configured(conn, settings, environment)
        return _plan(conn, settings, beside, state, release, sample)


def foreseen(engine: Engine, settings: Settings, store: Store, environment: str, release: int) -> tuple[HeldRow, ...]:
    """The rows that a request for this release would hold back, and does not. Raises RefusedError when it would be
    refused, StoreError."""
    with transaction(engine) as conn, _undone(conn, store) as beside:
        state = configured(conn, settings, environment)
        systems = [name for name, member in state.members.items() if member.requirement is not Requirement.DETACHED]
        before = _held(conn, environment)
        wanted_content(conn, settings, beside, state, release, systems)
        return tuple(row for place, row in _held(conn, environment).items() if place not in before)


def _held(conn: Connection, environment: str) -> dict[tuple[str, tuple[str, ...]], HeldRow]:
    return {(row.dataset, row.key): row for row in quarantine.held(conn, environment)}


def request_planned(
    engine: Engine,
    settings: Settings,
    store: Store,
    environment: str,
    digest: str,
    *,
    release: int | None,
    by: str,
    reason: str,
) -> str:
    """Asks for the rollout that a plan of this digest (or the beginning of it) tells of, and for no other; returns its
    id. Raises RefusedError when the plan is stale, else as `request_rollout`."""
    with transaction(engine) as conn:
        state = configured(conn, settings, environment)
        with _undone(conn, store) as beside:
            plan = _plan(conn, settings, beside, state, release, 0)
        if len(digest) < _SHORTEST or not plan.digest.startswith(digest.lower()):
            raise RefusedError(
                f"the plan is stale: {environment} would come from release {plan.shown.release} to {plan.release} by"
                f" plan {plan.digest[:12]}, not {digest[:12]}",
                where=environment,
                mend=f"Look again: `distributor plan {environment}`.",
            )
        return ask(
            conn, settings, store, environment,
            release=plan.release, cause=Cause.OPERATOR, by=by, reason=reason,
        )  # fmt: skip


@contextmanager
def _undone(conn: Connection, store: Store) -> Iterator[Store]:
    attempt = conn.begin_nested()
    try:
        with aside(store) as beside:
            yield beside
    finally:
        attempt.rollback()


def _plan(
    conn: Connection, settings: Settings, store: Store, state: Environment, release: int | None, sample: int
) -> Plan:
    number = release if release is not None else _newest(conn)
    refuse_collected(conn, store, number)
    here = store_of(settings, store, state.name)
    shown = shown_content(conn, settings, store, state)
    systems = [name for name, member in state.members.items() if member.requirement is not Requirement.DETACHED]
    if not any(member.requirement is Requirement.REQUIRED for member in state.members.values()):
        return Plan(state, number, shown, None, refused="no member is required: nobody would decide")
    before = _held(conn, state.name)
    try:
        wanted = wanted_content(conn, settings, store, state, number, systems).content
    except RefusedError as error:
        return Plan(state, number, shown, None, refused=str(error))
    more = tuple(row for place, row in _held(conn, state.name).items() if place not in before)
    mappings = _mappings_online(conn, state.name)
    cache: dict[str, Counted] = {}
    found = []
    for name in systems:
        mapping = settings.mapping(name, state.name)
        changed = bool(mappings.get(name)) and mappings[name] != mapping.version
        member = state.members[name]
        held = variants.manifest(conn, state.name, member.shadow) if member.shadow is not None else None
        known = Known(member.heard_at is not None, member.shadow, held, changed)
        found.append(
            SystemPlan(
                system=name,
                requirement=member.requirement,
                mapping=mapping.version,
                way=way(here, known, wanted, [table.source for table in mapping.tables]),
                tables=tuple(
                    _table(here, table, shown, wanted, cache, sample, mapping_changed=changed)
                    for table in _compiled(settings, name, shown, wanted)
                ),
            )
        )
    return Plan(state, number, shown, wanted, tuple(found), more)


def _table(
    store: Store,
    table: Compiled,
    shown: Content,
    wanted: Content,
    cache: dict[str, Counted],
    sample: int,
    *,
    mapping_changed: bool,
) -> TablePlan:
    place = f"{table.fingerprint} {mapping_changed}"
    if place not in cache:
        cache[place] = (whole if mapping_changed else net)(store, table, shown, wanted, sample)
    counted = cache[place]
    return TablePlan(
        table=table.name,
        dataset=table.mapping.dataset,
        key=table.schema.key,
        columns=table.schema.column_names,
        counted=counted,
        anew="the mapping changed" if mapping_changed else counted.anew,
    )


def _compiled(settings: Settings, system: str, shown: Content, wanted: Content) -> tuple[Compiled, ...]:
    manifest = wanted.manifest or shown.manifest
    return compile_system(settings.mapping(system), manifest) if manifest else ()


def _mappings_online(conn: Connection, environment: str) -> Mapping[str, str]:
    """System → version of the mapping under which it last went online."""
    found: dict[str, str] = {}
    for record in rollouts.rollouts(conn, environment, _HISTORY):
        if record.rollout.state is RolloutState.ONLINE:
            for system, expected in record.rollout.expected.items():
                found.setdefault(system, expected.mapping)
    return found


def _newest(conn: Connection) -> int:
    newest = releases.head(conn)
    if newest is None:
        raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
    return newest.number


def _numbers(table: TablePlan) -> list[object]:
    counted = table.counted
    return [table.table, counted.inserted, counted.updated, counted.deleted, table.anew]
