"""What an environment takes for a release: the release itself, or its variant without the rows that are held back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from distributor.errors import DistributorError, RefusedError
from distributor.ledger import audit, quarantine, rollouts, variants
from distributor.ledger.quarantine import HeldRow
from distributor.mapping.compiled import Compiled, compile_system
from distributor.mapping.tables import SystemMapping
from distributor.model.manifest import ZERO, Manifest
from distributor.model.unfit import Unfit, UnfitRowsError
from distributor.requests.expectations import Content, expected
from distributor.requests.putting_back import Key, put_back, reads_another, together, touched
from distributor.requests.queued import Ahead
from distributor.requests.taking import is_foreign, plain_content, taken_content
from distributor.requests.variants import made
from distributor.rollout.state import Cause, Environment, Expected
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.chain import walk
from distributor.store.editions import store_of
from distributor.telemetry.clock import now

BY = "quarantine"
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release as its members must come to hold it, and what they must report then, by system."""

    content: Content
    expected: Mapping[str, Expected]


def shown_content(conn: Connection, settings: Settings, store: Store, state: Environment) -> Content:
    """What the environment shows, or would under the masking policy that it has now. Raises StoreError."""
    return taken_content(conn, settings, store, state.name, state.shown)


def wanted_content(
    conn: Connection,
    settings: Settings,
    store: Store,
    state: Environment,
    number: int,
    systems: Iterable[str],
    *,
    besides: Iterable[str] = (),
    cause: Cause = Cause.OPERATOR,
) -> Wanted:
    """What an environment takes for a release, all systems alike. Rows that do not go through a mapping are held back.

    `store` is the config's; the content lies in that of the environment (`store.editions.store_of`). What the
    environment showed once for the release, or is being taken to, it takes again. `besides` are systems that have no
    say: of one that cannot take it nothing is expected. `cause` tells what the request has to wait for. Raises
    RefusedError for an unknown release, when more rows would be held back than the budget allows, or when such a row is
    online already; ConfigError when a masking policy cannot be had; StoreError.
    """
    names = list(systems)
    ahead = Ahead.of(state, cause)
    shown = None
    if number == ZERO:
        content = Content(None, None)
        here = store_of(settings, store, state.name)
        found = _expected(conn, settings, here, state.name, content, names, None)
    else:
        if is_foreign(conn, settings, store, state.name, state.shown):
            # These keys were masked otherwise. What still cannot be taken is found anew.
            quarantine.let_all_go(conn, state.name)
        shown = taken_content(conn, settings, store, state.name, ahead.shown)
        _refuse_other_masking(conn, settings, store, state, ahead, number)
        again = rollouts.was_online(conn, state.name, number) or number in ahead.promised
        take = _again if again else _anew
        content, found = take(conn, settings, store, state, number, names, shown)
    for system in besides:
        with suppress(DistributorError):
            here = store_of(settings, store, state.name)
            found |= _expected(conn, settings, here, state.name, content, [system], shown)
    return Wanted(content, found)


def _again(
    conn: Connection,
    settings: Settings,
    store: Store,
    state: Environment,
    number: int,
    names: list[str],
    shown: Content,
) -> tuple[Content, dict[str, Expected]]:
    here = store_of(settings, store, state.name)
    content = taken_content(conn, settings, store, state.name, number)
    _note_taken(conn, settings, state.name, content)
    try:
        return content, _expected(conn, settings, here, state.name, content, names, shown)
    except UnfitRowsError as error:
        mend = f"{state.name} took release {number} with these rows as they are: mend the mapping."
        raise RefusedError(error.what, where=error.where, mend=mend) from error


def _anew(
    conn: Connection,
    settings: Settings,
    store: Store,
    state: Environment,
    number: int,
    names: list[str],
    shown: Content,
) -> tuple[Content, dict[str, Expected]]:
    here = store_of(settings, store, state.name)
    plain = plain_content(conn, settings, store, state.name, number)
    assert plain.manifest is not None
    held = _still_held(conn, settings, store, state.name, plain)
    back = together(_put_back(settings, here, state.name, plain, shown, held))
    why = ""
    for _ in range(_ROUNDS):
        content = plain
        if back:
            _check_budget(settings, state.name, back, plain.manifest, why)
            content = _variant(conn, settings, here, state, plain, shown, back, names)
        else:
            variants.forget(conn, state.name, number)
            _note_taken(conn, settings, state.name, plain)
        try:
            return content, _expected(conn, settings, here, state.name, content, names, shown)
        except UnfitRowsError as error:
            system = error.where.removeprefix("systems.")
            new = [HeldRow.of(row, state.name, system, number, now()) for row in error.rows]
            parts = _put_back(settings, here, state.name, plain, shown, new)
            _refuse_what_is_online(shown, new, parts)
            if (more := together([back, *parts])) == back:
                mend = "These rows cannot be held back: mend them."
                raise RefusedError(error.what, where=error.where, mend=mend) from error
            back, why = more, str(error)
            hold_back(conn, state.name, system, number, error.rows)
            record = audit.AuditRecord(now(), BY, "held rows back", why, state.name, {"release": number})
            audit.record(conn, record)
    raise RefusedError(f"rows of release {number} still do not fit after {_ROUNDS} rounds", where=state.name)


def _note_taken(conn: Connection, settings: Settings, environment: str, content: Content) -> None:
    """An edition is not what the ledger has for a release: it is noted where members' commands are made from."""
    if settings.masking_of(environment) is None or content.sha256 is None:
        if variants.own(conn, environment, content.release) and content.manifest and not content.manifest.is_variant:
            variants.forget(conn, environment, content.release)
        return
    assert content.manifest is not None
    if not content.manifest.is_variant:
        variants.put(conn, environment, content.release, content.sha256, 0, now())


def _refuse_other_masking(
    conn: Connection, settings: Settings, store: Store, state: Environment, ahead: Ahead, number: int
) -> None:
    if number in ahead.promised and is_foreign(conn, settings, store, state.name, number):
        raise RefusedError(
            f"{state.name} is being taken to release {number} under another masking policy than the config has now",
            where=f"environments.{state.name}.masking",
            mend=f"Wait until that has ended, or `distributor abort {state.name}`; then ask again.",
        )


def hold_back(conn: Connection, environment: str, system: str, release: int, rows: Iterable[Unfit]) -> None:
    """Rows that a system cannot take are held back from the next request on."""
    quarantine.hold(conn, [HeldRow.of(row, environment, system, release, now()) for row in rows])


def _still_held(conn: Connection, settings: Settings, store: Store, environment: str, plain: Content) -> list[HeldRow]:
    """What is held back, without the rows that the master changed since: those are tried again."""
    entries = quarantine.held(conn, environment)
    found: list[HeldRow] = []
    for release in sorted({entry.release for entry in entries}):
        mine = [entry for entry in entries if entry.release == release]
        changed: Mapping[str, set[Key]] = {}
        if release < plain.release:
            since = plain_content(conn, settings, store, environment, release)
            changed = _changed(settings, store_of(settings, store, environment), environment, since, plain, mine)
        for dataset, gone in changed.items():
            quarantine.let_go(conn, environment, dataset, gone)
        found += [entry for entry in mine if entry.key not in changed.get(entry.dataset, ())]
    return found


def _changed(
    settings: Settings, store: Store, environment: str, since: Content, plain: Content, mine: Sequence[HeldRow]
) -> dict[str, set[Key]]:
    """Which of these rows the master changed after a release, in what they are held back for."""
    assert plain.manifest is not None
    chain = walk(store, plain.sha256, plain.release, since.sha256, since.release)
    mappings = _mappings(settings, environment, mine)
    through = [row for row in mine if reads_another(mappings[row.system], row.table, row.column)]
    own, read = (together({row.dataset: {row.key}} for row in rows) for rows in (mine, through))
    return together(
        [touched(store, chain, plain.manifest, own), touched(store, chain, plain.manifest, read, joined=True)]
    )


def _mappings(settings: Settings, environment: str, held: Sequence[HeldRow]) -> dict[str, SystemMapping]:
    return {row.system: settings.mapping(row.system, environment) for row in held}


def _put_back(
    settings: Settings, store: Store, environment: str, plain: Content, shown: Content, held: Sequence[HeldRow]
) -> list[dict[str, set[Key]]]:
    """What is put back for each of these rows. On the way back to an earlier release, or where only an optional system
    cannot take them, there may be nothing."""
    if not held:
        return []
    assert plain.manifest is not None
    chain = walk(store, plain.sha256, plain.release, shown.sha256, shown.release)
    mappings = _mappings(settings, environment, held)
    return put_back(store, chain, plain.manifest, held, mappings, settings.references)


def _refuse_what_is_online(shown: Content, rows: Sequence[HeldRow], back: Sequence[Mapping[str, set[Key]]]) -> None:
    for row, parts in zip(rows, back, strict=True):
        if not parts:
            raise RefusedError(
                f"{row.dataset} {', '.join(row.key)} cannot be held back: release {shown.release}, which is online, has"
                f" that row as it is, and {row.system} cannot take it: {row.table}.{row.column} {row.why}",
                where=f"systems.{row.system}",
                mend="Mend it on the master, or the mapping or the store that does not take it.",
            )


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
    tables = {table.fingerprint: table for system in systems for table in _compiled(settings, system, plain.manifest)}
    variant = made(store, plain, shown, held, settings.references, list(tables.values()))
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
    environment: str,
    content: Content,
    systems: list[str],
    since: Content | None,
) -> dict[str, Expected]:
    """Systems with the same tables share one digest: computing it is most of what asking costs."""
    mappings = {system: settings.mapping(system, environment) for system in systems}
    distinct = {mapping.tables: mapping for mapping in mappings.values()}
    digests = {
        tables: expected(conn, store, mapping, content, since).certificate for tables, mapping in distinct.items()
    }
    return {system: Expected(digests[mapping.tables], mapping.version) for system, mapping in mappings.items()}
