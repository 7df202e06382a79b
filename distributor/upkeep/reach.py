"""What a store has to keep so that every kept release can be had from nothing, and the proof that it can."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from distributor.errors import StoreError
from distributor.model.manifest import ZERO, Base
from distributor.store.base import Store
from distributor.store.bases import whole
from distributor.store.chain import Manifests, Position
from distributor.store.chunks import Link
from distributor.store.ways import BASE, read_base
from distributor.upkeep.collected import KEPT

_MOST_MANIFEST = 4 << 20
Known = Mapping[int, str]
"""Release → the sha256 of its manifest, as the ledger has it."""


@dataclass(slots=True)
class Reach:
    """The kept releases, the objects that they need, and the base on which the oldest of them stands.

    `floor` is the oldest release that is kept; `base` None means that all stand on release 0.
    """

    floor: int
    base: Base | None
    objects: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)


def lowest(store: Store, known: Known, oldest: int) -> Base | None:
    """The newest base at or before the oldest release that is needed, all of it whole; None: there is none."""
    for release in sorted((number for number in known if number <= oldest), reverse=True):
        base = read_base(store, known[release])
        if base is not None and whole(store, base.chunks):
            return base
    return None


def reach(store: Store, known: Known, base: Base | None, there: Mapping[str, int], repairs: Iterable[str]) -> Reach:
    """What is needed of everything from a base on (None: from release 0 on); `there`: sha256 → octets of all objects.

    Raises StoreError when a kept release could not be had from nothing: then nothing may be deleted.
    """
    floor = base.release if base else min(known, default=ZERO)
    found = Reach(floor, base)
    manifests = Manifests(store)
    # What stands on nothing has all of its rows itself: the first release, and the first edition of a policy.
    had = {Position(ZERO, None)}
    for release in sorted(number for number in known if number >= floor):
        here = Position(release, known[release])
        link = manifests.link(here)
        stands = Position(link.parent_release, link.parent) in had and _has(store, there, link)
        held = read_base(store, known[release])
        if not stands and not (held is not None and whole(store, held.chunks)):
            raise StoreError(
                f"release {release} cannot be had from nothing: what it stands on is not whole; nothing was deleted",
                where="store",
                mend="Restore what is missing from a backup; `distributor compact` says what that is.",
            )
        found.manifests.add(known[release])
        found.objects.update((known[release], *(chunk.sha256 for chunk in link.chunks)))
        had.add(here)
    for kind, name, sha256 in store.links():
        if kind not in (BASE, KEPT) or (kind == BASE and name in found.manifests):
            found.objects.update((sha256, *_named_in(store, sha256)))
    for repair in repairs:
        found.objects.update((repair, *_named_in(store, repair)))
    return found


def keep_variants(store: Store, found: Reach, loose: Mapping[str, int], known: Collection[str]) -> None:
    """Adds what stands on a kept release without being one: a variant of it. `loose`: objects that nobody named."""
    variants = {
        sha256: link
        for sha256, octets in loose.items()
        if sha256 not in known and octets <= _MOST_MANIFEST and (link := _variant(store, sha256)) is not None
    }
    while True:
        standing = [sha256 for sha256, link in variants.items() if link.parent in found.manifests]
        if not standing:
            return
        for sha256 in standing:
            found.manifests.add(sha256)
            found.objects.update((sha256, *(chunk.sha256 for chunk in variants.pop(sha256).chunks)))
            if (base := store.linked(BASE, sha256)) is not None:
                found.objects.update((base, *_named_in(store, base)))


def _has(store: Store, there: Mapping[str, int], link: Link) -> bool:
    """Whether all chunks are there. One that was not seen may have come since."""
    return whole(store, [chunk for chunk in link.chunks if there.get(chunk.sha256) != chunk.bytes])


def _variant(store: Store, sha256: str) -> Link | None:
    try:
        content = store.get(sha256)
        link = Link.model_validate_json(content) if content.startswith(b"{") else None
    except (StoreError, ValueError):
        return None
    return link if link is not None and link.parent_release == link.release else None


def _named_in(store: Store, sha256: str) -> list[str]:
    """The chunks that an object names, if it is of the kind that does."""
    try:
        content = json.loads(store.get(sha256))
        return [str(chunk["sha256"]) for chunk in content["chunks"]]
    except (StoreError, ValueError, LookupError, TypeError):
        return []
