"""By which way a member would load a content: what its own plan will say, as far as the ledger knows the member."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from distributor.errors import StoreError
from distributor.model.manifest import ZERO
from distributor.requests.expectations import Content
from distributor.store.base import Store
from distributor.store.told import in_words
from distributor.store.ways import Ways


@dataclass(frozen=True, slots=True)
class Known:
    """A member as it last reported: whether it ever did, the release in its shadow slot (None: torn) with the sha256 of
    the manifest that the environment takes for it, and whether its mapping is another now."""

    heard: bool
    shadow: int | None
    manifest: str | None
    mapping_changed: bool


@dataclass(frozen=True, slots=True)
class Way:
    """In words; `rebuild` says why everything is loaded, "" for a delta. `rows`: those of all changesets on it."""

    told: str
    rows: int
    rebuild: str = ""


def way(store: Store, known: Known, wanted: Content, sources: Collection[str]) -> Way:
    """The way into the shadow slot, by the rules of the member's own plan: torn, empty, another mapping or a former
    shape leave only the rebuild, else the cheaper of delta and rebuild, by rows. Raises StoreError when none is left.

    What only the member knows (a slot that an audit found altered) may make it a rebuild all the same.
    """
    ways = Ways(store, wanted.sha256, wanted.release)
    why = _must_rebuild(known, wanted)
    if not why:
        assert known.shadow is not None
        try:
            chain = ways.delta(known.manifest, known.shadow)
        except StoreError as error:
            why = str(error)
        else:
            if lost := [source for source in sources if chain.lost(source)]:
                why = f"there is no way back to the former shape of {', '.join(lost)}"
            else:
                shorter = _shorter(ways, chain.rows)
                if shorter is None:
                    return Way(in_words(chain, from_nothing=False) or "nothing to load", chain.rows)
                why = "fewer rows than from what it holds"
    chain = ways.anew()
    return Way(in_words(chain, from_nothing=True), chain.rows, why)


def _shorter(ways: Ways, rows: int) -> object | None:
    try:
        return ways.shorter(rows)
    except StoreError:
        return None


def _must_rebuild(known: Known, wanted: Content) -> str:
    if wanted.release == ZERO:
        return "release 0 is empty"
    if not known.heard:
        return "it was never heard of"
    if known.shadow is None:
        return "the slot is torn"
    if known.shadow == ZERO:
        return "the slot is empty"
    return "the mapping changed" if known.mapping_changed else ""
