"""Collecting editions: of policies in use what nobody needs any more, of others everything after a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.errors import RefusedError
from distributor.ledger import editions
from distributor.ledger.engine import transaction
from distributor.ledger.locks import collecting, collecting_gate
from distributor.settings.models import Settings
from distributor.store.base import Kept, Store
from distributor.store.bases import whole
from distributor.store.chunks import read_link
from distributor.store.ways import BASE, read_base
from distributor.upkeep.needs import needs
from distributor.upkeep.reach import Reach, keep_variants, reach

Hear = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CollectedEditions:
    """What was deleted, or would be: objects, octets, and whole editions of policies that nobody uses any more."""

    objects: int = 0
    bytes: int = 0
    editions: int = 0


def collect_editions(
    engine: Engine,
    store: Store,
    settings: Settings,
    at: datetime,
    *,
    dry_run: bool = False,
    hear: Hear = lambda _text: None,
) -> CollectedEditions:
    """Deletes from every edition what no environment needs, by the rules of `collect`, and editions of policies that
    the config does not use, once the last of them was made `store.keep` ago.

    What is needed again after that is made again. Raises RefusedError when somebody else collects, or when the ledger
    may know too little; StoreError when a kept release could not be had.
    """
    used = {policy.version for policy in settings.policies_in_use}
    found = CollectedEditions()
    with collecting(engine) as mine:
        if not mine:
            raise RefusedError("somebody else collects already", where="ledger", mend="Wait until that has ended.")
        for version in list(store.editions()):
            hear(f"looking at edition {version[:12]}")
            more = _collect(engine, store, settings, version, at, used=version in used, dry_run=dry_run)
            found = CollectedEditions(
                found.objects + more.objects, found.bytes + more.bytes, found.editions + more.editions
            )
    return found


def _collect(
    engine: Engine, store: Store, settings: Settings, version: str, at: datetime, *, used: bool, dry_run: bool
) -> CollectedEditions:
    edition, before = store.edition(version), at - settings.store.grace
    # Before the ledger is read: what is put later is young, whoever it is for.
    there = {kept.sha256: kept for kept in edition.objects()}
    with transaction(engine) as conn:
        wanted = needs(conn, settings.store.keep, at)
        made_at = editions.policies(conn).get(version)
        known = editions.all_of(conn, version)
    if not used and made_at is not None and made_at > at - settings.store.keep:
        used = True
    oldest = wanted.oldest.release if wanted.oldest else 0
    found = _reach(edition, known, oldest, there, wanted.repairs) if used else Reach(0, None)
    loose = {sha256: kept for sha256, kept in there.items() if sha256 not in found.objects}
    old = {sha256: kept.bytes for sha256, kept in loose.items() if kept.written_at < before}
    if used:
        keep_variants(edition, found, old, set(known.values()))
    garbage = [kept for sha256, kept in loose.items() if sha256 in old and sha256 not in found.objects]
    if dry_run:
        return CollectedEditions(len(garbage), sum(kept.bytes for kept in garbage), int(not used))
    with transaction(engine) as conn:
        collecting_gate(conn)
        if used and _needed(conn, settings, at) < oldest:
            return CollectedEditions()
        editions.forget(conn, version, found.floor if used else None)
    for kind, name, _ in list(edition.links()):
        if not used or (kind == BASE and name not in found.manifests):
            edition.unlink(kind, name)
    gone = [kept for kept in garbage if edition.remove(kept.sha256, before)]
    edition.sweep(before)
    return CollectedEditions(len(gone), sum(kept.bytes for kept in gone), int(not used and store.discard(version)))


def _needed(conn: Connection, settings: Settings, at: datetime) -> int:
    found = needs(conn, settings.store.keep, at).oldest
    return found.release if found else 0


def _reach(
    edition: Store, known: Mapping[int, str], oldest: int, there: Mapping[str, Kept], repairs: frozenset[str]
) -> Reach:
    sizes = {sha256: kept.bytes for sha256, kept in there.items()}
    for release in sorted((number for number in known if number <= oldest), reverse=True):
        kept = {number: sha256 for number, sha256 in known.items() if number >= release}
        base = read_base(edition, known[release])
        if base is not None and whole(edition, base.chunks):
            return reach(edition, kept, base, sizes, repairs)
        if read_link(edition, known[release]).parent is None:
            return reach(edition, kept, None, sizes, repairs)
    return reach(edition, known, None, sizes, repairs)
