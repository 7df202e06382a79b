"""Collecting: what nobody needs any more is deleted from the store, and never anything that somebody does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, select

from distributor.errors import RefusedError
from distributor.ledger.engine import transaction
from distributor.ledger.locks import collecting, collecting_gate
from distributor.ledger.tables import releases
from distributor.settings.models import StoreSettings
from distributor.store.base import Kept, Store
from distributor.store.ways import BASE
from distributor.upkeep.collected import KEPT, OLDEST, oldest
from distributor.upkeep.needs import Need, Needs, needs
from distributor.upkeep.reach import Known, Reach, keep_variants, lowest, reach

Hear = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was deleted, or would be.

    `oldest` is the oldest release that can be had now, and `base` whether it stands on a base; None without releases.
    `needed` is the oldest release that somebody needs. `releases` were collected this time. `young` are objects that
    nobody needs, but that were put so lately that their use may not be known yet.
    """

    oldest: int | None
    base: bool
    needed: Need | None
    releases: int
    objects: int
    bytes: int
    bases: int
    leftovers: int
    young: int


@dataclass(frozen=True, slots=True)
class _Plan:
    reach: Reach
    needs: Needs
    before: datetime
    releases: int
    names: tuple[str, ...]
    garbage: tuple[Kept, ...]
    young: int


def collect(
    engine: Engine,
    store: Store,
    settings: StoreSettings,
    at: datetime,
    *,
    dry_run: bool = False,
    hear: Hear = lambda _text: None,
) -> Collected:
    """Deletes what no environment, window, verification or repair needs; with `dry_run` it only says what.

    It may be stopped, or killed, at any point: all that is needed is there at every moment. Raises RefusedError when
    somebody else collects, or when the ledger may know too little; StoreError when a kept release could not be had.
    """
    with collecting(engine) as mine:
        if not mine:
            raise RefusedError("somebody else collects already", where="ledger", mend="Wait until that has ended.")
        plan = _plan(engine, store, settings, at, hear)
        if not dry_run:
            _raise_the_floor(engine, store, settings, at, plan)
            hear(f"deleting {len(plan.garbage):,} objects")
            return _told(plan, *_delete(store, plan))
        octets = sum(kept.bytes for kept in plan.garbage)
        return _told(plan, len(plan.garbage), octets, store.sweep(plan.before, dry_run=True))


def _plan(engine: Engine, store: Store, settings: StoreSettings, at: datetime, hear: Hear) -> _Plan:
    # Before the ledger is read: what is put later is young, whoever it is for.
    hear("looking at the store")
    there = {kept.sha256: kept for kept in store.objects()}
    sizes = {sha256: kept.bytes for sha256, kept in there.items()}
    with transaction(engine) as conn:
        wanted = needs(conn, settings.keep, at)
        every = _known(conn)
        gone = oldest(conn, store) or 0
    _refuse_strangers(store, every, bool(there))
    known = {number: sha256 for number, sha256 in every.items() if number >= gone}
    hear("proving that every release that is kept can be had")
    base = lowest(store, known, wanted.oldest.release) if wanted.oldest else None
    found = reach(store, known, base, sizes, wanted.repairs)
    before = at - settings.grace
    loose = {sha256: kept for sha256, kept in there.items() if sha256 not in found.objects}
    old = {sha256: kept.bytes for sha256, kept in loose.items() if kept.written_at < before}
    keep_variants(store, found, old, set(every.values()))
    garbage = tuple(kept for sha256, kept in loose.items() if sha256 in old and sha256 not in found.objects)
    names = tuple(name for kind, name, _ in store.links() if kind == BASE and name not in found.manifests)
    collected = sum(number < found.floor for number in known)
    return _Plan(found, wanted, before, collected, names, garbage, len(loose) - len(old))


def _refuse_strangers(store: Store, every: Known, holds_something: bool) -> None:
    """A config may name the ledger of one estate and the store of another: there everything would be garbage."""
    named = {name if kind == BASE else sha256 for kind, name, sha256 in store.links() if kind in (BASE, KEPT)}
    strange = named - set(every.values())
    if strange or (holds_something and not every):
        what = f"manifest {min(strange)} of the store" if strange else "any release, and the store is not empty"
        raise RefusedError(
            f"the ledger does not know {what}: nothing was deleted",
            where="store",
            mend="Do `ledger.url` and `store.path` belong together? Was the ledger restored from a backup?",
        )


def _raise_the_floor(engine: Engine, store: Store, settings: StoreSettings, at: datetime, plan: _Plan) -> None:
    """From here on nobody is given an older release. Raises RefusedError when one was asked for meanwhile."""
    if plan.reach.base is None:
        return
    with transaction(engine) as conn:
        collecting_gate(conn)
        asked = needs(conn, settings.keep, at).oldest
        if asked is not None and asked.release < plan.reach.floor:
            raise RefusedError(
                f"release {asked.release} is needed since a moment ago ({asked.why}); nothing was deleted",
                where="ledger",
                mend="Collect again.",
            )
        if (oldest(conn, store) or 0) < plan.reach.floor:
            store.link(KEPT, OLDEST, plan.reach.base.manifest)


def _delete(store: Store, plan: _Plan) -> tuple[int, int, int]:
    """Objects, octets and leftovers. Names go first: none may lead to what is gone."""
    for name in plan.names:
        store.unlink(BASE, name)
    objects = octets = 0
    for kept in plan.garbage:
        if store.remove(kept.sha256, plan.before):
            objects += 1
            octets += kept.bytes
    return objects, octets, store.sweep(plan.before)


def _known(conn: Connection) -> Known:
    rows = conn.execute(select(releases.c.number, releases.c.manifest))
    return {row.number: row.manifest for row in rows}


def _told(plan: _Plan, objects: int, octets: int, leftovers: int) -> Collected:
    return Collected(
        oldest=plan.reach.floor or None,
        base=plan.reach.base is not None,
        needed=plan.needs.oldest,
        releases=plan.releases,
        objects=objects,
        bytes=octets,
        bases=len(plan.names),
        leftovers=leftovers,
        young=plan.young,
    )
