"""The way from one release to another: manifests along parents, in reverse down to where both come from, then forwards.

A manifest stands on its parent's: that of an earlier release or, when it is a variant, that of the very release.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from distributor.errors import StoreError
from distributor.model.manifest import ZERO, Base, Chunk
from distributor.store.base import Store
from distributor.store.chunks import Link, read_link


class Direction(StrEnum):
    """Whether a changeset is applied as written, or undone."""

    FORWARD = "forward"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Step:
    """One changeset on the way; a base is one that begins with nothing."""

    manifest: Link | Base
    direction: Direction

    def chunks(self, dataset: str) -> tuple[Chunk, ...]:
        """The chunks of one dataset."""
        return tuple(chunk for chunk in self.manifest.chunks if chunk.dataset == dataset)

    @property
    def restarts(self) -> Collection[str]:
        """Datasets that begin anew here: this step has all of their rows, as inserts."""
        return self._restarts if self.direction is Direction.FORWARD else ()

    @property
    def undone_restarts(self) -> Collection[str]:
        """Datasets that had another shape before this step, which goes back."""
        return self._restarts if self.direction is Direction.REVERSE else ()

    @property
    def _restarts(self) -> Collection[str]:
        return self.manifest.restarts if isinstance(self.manifest, Link) else ()


@dataclass(frozen=True, slots=True)
class Chain:
    """Changesets in the order in which they are applied; none when nothing is to be done.

    A dataset that changes its shape on the way begins anew there, with an empty table: only the steps from its newest
    restart on count for it. No changeset undoes a restart.
    """

    steps: tuple[Step, ...]

    @property
    def rows(self) -> int:
        """Rows of all changesets: the most that the net delta can have."""
        begins = {dataset: at for at, step in enumerate(self.steps) for dataset in step.restarts}
        return sum(
            chunk.rows
            for at, step in enumerate(self.steps)
            for chunk in step.manifest.chunks
            if at >= begins.get(chunk.dataset, 0)
        )

    def restarts(self, dataset: str) -> bool:
        """Whether the dataset begins anew on the way, whatever was there before."""
        return any(dataset in step.restarts for step in self.steps)

    def lost(self, dataset: str) -> bool:
        """Whether the way goes back over a restart of the dataset and no other one follows: it leads nowhere."""
        return not self.restarts(dataset) and any(dataset in step.undone_restarts for step in self.steps)

    def touching(self, dataset: str) -> tuple[Step, ...]:
        """The steps that change one dataset, from its newest restart on. Raises StoreError where it is `lost`."""
        if self.lost(dataset):
            raise StoreError(
                f"there is no way back to the former shape of {dataset}",
                where="chain",
                mend="Rebuild it from release 0.",
            )
        begins = max((at for at, step in enumerate(self.steps) if dataset in step.restarts), default=0)
        return tuple(step for step in self.steps[begins:] if step.chunks(dataset))


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the tree of manifests. `sha256` is None for release 0, and for no other."""

    release: int
    sha256: str | None

    def check(self) -> None:
        """Raises StoreError."""
        if (self.release == ZERO) != (self.sha256 is None):
            raise StoreError(
                f"release {self.release} with the manifest {self.sha256}: only release 0 has none", where="chain"
            )


class Manifests:
    """The manifests of a store; each is read once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._links: dict[str, Link] = {}

    def link(self, position: Position) -> Link:
        """A manifest's place in the tree. Raises StoreError: missing, damaged, of another release than is said."""
        assert position.sha256 is not None
        if position.sha256 not in self._links:
            self._links[position.sha256] = read_link(self.store, position.sha256)
        link = self._links[position.sha256]
        if link.release != position.release or link.parent_release > link.release:
            raise StoreError(
                f"it is of release {link.release} on {link.parent_release}, not of release {position.release}",
                where=f"manifest {position.sha256}",
            )
        return link


def walk(store: Store, to_sha: str | None, to_release: int, from_sha: str | None, from_release: int) -> Chain:
    """The chain between two releases, each given by its manifest's sha256 (None for release 0) and its number.

    It leads down to their nearest common ancestor and up again. Raises StoreError when an object is missing, or when
    they have no ancestor in common but release 0, where everything begins: a rebuild is never longer than that.
    """
    return between(Manifests(store), Position(to_release, to_sha), Position(from_release, from_sha))


def between(manifests: Manifests, to: Position, start: Position) -> Chain:
    """`walk`, over manifests that may have been read before."""
    for position in (to, start):
        position.check()
    down, up = _Descent(manifests, start), _Descent(manifests, to)
    meeting = _meeting(down, up)
    if meeting is None or (meeting.release == ZERO and ZERO not in (to.release, start.release)):
        older, newer = sorted((to.release, start.release))
        raise StoreError(
            f"release {newer} does not descend from release {older} as it is known here",
            where="chain",
            mend="Were ledger or store replaced by another one? Then rebuild from release 0.",
        )
    back = [Step(link, Direction.REVERSE) for link in down.until(meeting)]
    forth = [Step(link, Direction.FORWARD) for link in reversed(up.until(meeting))]
    return Chain((*back, *forth))


class _Descent:
    """The ancestors of a position, one step at a time."""

    def __init__(self, manifests: Manifests, start: Position) -> None:
        self.at = start
        self._manifests = manifests
        self._passed: dict[Position, int] = {start: 0}
        self._links: list[Link] = []

    def __contains__(self, position: Position) -> bool:
        return position in self._passed

    @property
    def rests_on_its_own_release(self) -> bool:
        """Whether the position is a variant: what stands below it is of the same release."""
        return self.at.sha256 is not None and self._manifests.link(self.at).parent_release == self.at.release

    def step(self) -> None:
        link = self._manifests.link(self.at)
        self._links.append(link)
        self.at = Position(link.parent_release, link.parent)
        self._passed[self.at] = len(self._links)

    def until(self, ancestor: Position) -> list[Link]:
        """The manifests from the start down to, and without, an ancestor; newest first."""
        return self._links[: self._passed[ancestor]]


def _meeting(one: _Descent, other: _Descent) -> Position | None:
    """The first position that both come past: of the ancestors in common, the nearest."""
    while True:
        for descent, beside in ((one, other), (other, one)):
            if descent.at in beside:
                return descent.at
        if one.at.release != other.at.release:
            later = one if one.at.release > other.at.release else other
            later.step()
        elif one.at.sha256 is None or other.at.sha256 is None:
            return None
        elif variants := [descent for descent in (one, other) if descent.rests_on_its_own_release]:
            variants[0].step()
        else:
            # Two histories parted below this release.
            one.step()
