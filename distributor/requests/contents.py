"""What an environment takes for a release: the release itself, or its variant without the rows that are held back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from distributor.errors import RefusedError
from distributor.ledger import audit, quarantine, releases, rollouts, variants
from distributor.ledger.quarantine import HeldRow
from distributor.mapping.compiled import Compiled, compile_system
from distributor.model.manifest import ZERO, Manifest
from distributor.model.unfit import Unfit, UnfitRowsError
from distributor.requests.expectations import Content, expected
from distributor.requests.variants import Key, made
from distributor.rollout.state import Environment, Expected
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.chain import Chain, walk
from distributor.store.chunks import AFTER, BEFORE
from distributor.store.compose import net_delta
from distributor.telemetry.clock import now

BY = "quarantine"
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release as its members must come to hold it, and what they must report then, by system."""

    content: Content
    expected: Mapping[str, Expected]


def shown_content(conn: Connection, store: Store, state: Environment) -> Content:
    """What the environment shows. Raises StoreError."""
    return Content.read(store, variants.manifest(conn, state.name, state.shown))


def wanted_content(
    conn: Connection, settings: Settings, store: Store, state: Environment, number: int, systems: Iterable[str]
) -> Wanted:
    """What an environment takes for a release, all systems alike. Rows that do not go through a mapping are held back.

    What the environment showed once for the release, or is being taken to, it takes again. Raises RefusedError for an
    unknown release, when more rows would be held back than the budget allows, or when such a row is online already;
    StoreError.
    """
    names = list(systems)
    if number == ZERO:
        empty = Content(None, None)
        return Wanted(empty, _expected(conn, settings, store, empty, names, None))
    shown = shown_content(conn, store, state)
    if rollouts.was_online(conn, state.name, number) or _under_way(state, number):
        again = Content.read(store, variants.manifest(conn, state.name, number))
        try:
            return Wanted(again, _expected(conn, settings, store, again, names, shown))
        except UnfitRowsError as error:
            mend = f"{state.name} took release {number} with these rows as they are: mend the mapping."
            raise RefusedError(error.what, where=error.where, mend=mend) from error
    plain = Content.read(store, releases.release(conn, number).manifest)
    assert plain.manifest is not None
    held = _to_put_back(store, plain, shown, _still_held(conn, store, state.name, plain))
    why = ""
    for _ in range(_ROUNDS):
        content = plain
        if held:
            _check_budget(settings, state.name, held, plain.manifest, why)
            content = _variant(conn, settings, store, state, plain, shown, held, names)
        else:
            variants.forget(conn, state.name, number)
        try:
            return Wanted(content, _expected(conn, settings, store, content, names, shown))
        except UnfitRowsError as error:
            held = _with(conn, state.name, number, error, held)
            why = str(error)
    raise RefusedError(f"rows of release {number} still do not fit after {_ROUNDS} rounds", where=state.name)


def hold_back(conn: Connection, environment: str, system: str, release: int, rows: Iterable[Unfit]) -> None:
    """Rows that a system cannot take are held back from the next request on."""
    quarantine.hold(conn, [HeldRow.of(row, environment, system, release, now()) for row in rows])


def _with(
    conn: Connection, environment: str, number: int, error: UnfitRowsError, held: Mapping[str, set[Key]]
) -> dict[str, set[Key]]:
    new = [row for row in error.rows if row.key not in held.get(row.dataset, set())]
    if not new:
        raise RefusedError(error.what, where=error.where, mend="These rows cannot be held back: mend them.") from error
    hold_back(conn, environment, error.where.removeprefix("systems."), number, new)
    record = audit.AuditRecord(now(), BY, "held rows back", str(error), environment, {"release": number})
    audit.record(conn, record)
    return {
        dataset: held.get(dataset, set()) | {row.key for row in new if row.dataset == dataset}
        for dataset in {*held, *(row.dataset for row in new)}
    }


def _still_held(conn: Connection, store: Store, environment: str, plain: Content) -> dict[str, set[Key]]:
    """What is held back, without the rows that the master changed since: those are tried again."""
    entries = quarantine.held(conn, environment)
    found: dict[str, set[Key]] = {}
    for release in sorted({entry.release for entry in entries}):
        mine: dict[str, set[Key]] = {}
        for entry in entries:
            if entry.release == release:
                mine.setdefault(entry.dataset, set()).add(entry.key)
        changed = _changed(conn, store, release, plain, mine) if release < plain.release else {}
        for dataset, keys in mine.items():
            if gone := changed.get(dataset):
                quarantine.let_go(conn, environment, dataset, gone)
            if left := keys - (gone or set()):
                found.setdefault(dataset, set()).update(left)
    return found


def _changed(
    conn: Connection, store: Store, release: int, plain: Content, mine: Mapping[str, set[Key]]
) -> dict[str, set[Key]]:
    """Which of these keys the master changed after a release."""
    chain = walk(store, plain.sha256, plain.release, releases.release(conn, release).manifest, release)
    return _touched(store, chain, plain, mine)


def _to_put_back(store: Store, plain: Content, shown: Content, held: Mapping[str, set[Key]]) -> dict[str, set[Key]]:
    """Which of these keys the environment would lose as it shows them: on the way back to an earlier release, or where
    only an optional system cannot take them, there may be nothing to put back."""
    if not held:
        return {}
    chain = walk(store, plain.sha256, plain.release, shown.sha256, shown.release)
    # Over a change of shape nothing can be put back. A row that does not fit in the former shape either is found anew.
    return _touched(store, chain, plain, {name: keys for name, keys in held.items() if not chain.lost(name)})


def _touched(store: Store, chain: Chain, to: Content, mine: Mapping[str, set[Key]]) -> dict[str, set[Key]]:
    assert to.manifest is not None
    found: dict[str, set[Key]] = {}
    for schema in to.manifest.schemas:
        keys = mine.get(schema.dataset)
        if not keys:
            continue
        for piece in net_delta(store, chain, schema):
            sides = [[piece[side + name].to_pylist() for name in schema.key] for side in (BEFORE, AFTER)]
            touched = {key for side in sides for key in zip(*side, strict=True)}
            if keys & touched:
                found.setdefault(schema.dataset, set()).update(keys & touched)
    return found


def _under_way(state: Environment, number: int) -> bool:
    """What members are being brought to must stay what the ledger says that they hold."""
    return bool(state.active and state.active.release == number)


def _variant(
    conn: Connection,
    settings: Settings,
    store: Store,
    state: Environment,
    plain: Content,
    shown: Content,
    held: Mapping[str, set[Key]],
    systems: list[str],
) -> Content:
    assert plain.manifest is not None
    references = {name: dataset.references for name, dataset in settings.master.datasets.items()}
    tables = {table.fingerprint: table for system in systems for table in _compiled(settings, system, plain.manifest)}
    variant = made(store, plain, shown, held, references, list(tables.values()))
    assert variant.content.sha256 is not None
    variants.put(conn, state.name, plain.release, variant.content.sha256, variant.rows, now())
    return variant.content


def _compiled(settings: Settings, system: str, manifest: Manifest) -> tuple[Compiled, ...]:
    return compile_system(settings.mapping(system), manifest)


def _check_budget(
    settings: Settings, environment: str, held: Mapping[str, set[Key]], manifest: Manifest, why: str
) -> None:
    for dataset, keys in held.items():
        rows = manifest.certificate.tables[dataset].total.rows
        most = settings.quarantine.most(rows)
        if len(keys) > most:
            told = f": {why}" if why else ""
            raise RefusedError(
                f"{len(keys):,} rows of {dataset} would be held back from {environment}; of {rows:,} rows {most:,}"
                f" may{told}",
                where="quarantine",
                mend="Mend the rows on the master, or the mapping; or raise the budget in [quarantine].",
            )


def _expected(
    conn: Connection,
    settings: Settings,
    store: Store,
    content: Content,
    systems: list[str],
    since: Content | None,
) -> dict[str, Expected]:
    """Systems with the same tables share one digest: computing it is most of what asking costs."""
    mappings = {system: settings.mapping(system) for system in systems}
    distinct = {mapping.tables: mapping for mapping in mappings.values()}
    digests = {
        tables: expected(conn, store, mapping, content, since).certificate for tables, mapping in distinct.items()
    }
    return {system: Expected(digests[mapping.tables], mapping.version) for system, mapping in mappings.items()}
