"""The way from one release to another: manifests along parents, forwards or in reverse."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from distributor.errors import StoreError
from distributor.model.manifest import ZERO, Chunk
from distributor.store.base import Store
from distributor.store.chunks import Link, read_link


class Direction(StrEnum):
    """Whether a changeset is applied as written, or undone."""

    FORWARD = "forward"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Step:
    """One changeset on the way."""

    manifest: Link
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


def walk(store: Store, to_sha: str | None, to_release: int, from_sha: str | None, from_release: int) -> Chain:
    """The chain between two releases, each given by its manifest's sha256 (None for release 0) and its number.

    Raises StoreError when an object is missing, or when neither release is an ancestor of the other.
    """
    if to_release >= from_release:
        manifests = _down(store, to_sha, to_release, from_sha, from_release)
        return Chain(tuple(Step(manifest, Direction.FORWARD) for manifest in reversed(manifests)))
    manifests = _down(store, from_sha, from_release, to_sha, to_release)
    return Chain(tuple(Step(manifest, Direction.REVERSE) for manifest in manifests))


def _down(store: Store, sha: str | None, release: int, end_sha: str | None, end_release: int) -> list[Link]:
    """The manifests from a release down to, and without, its ancestor; newest first."""
    for number, given in ((release, sha), (end_release, end_sha)):
        if (number == ZERO) != (given is None):
            raise StoreError(f"release {number} with the manifest {given}: only release 0 has none", where="chain")
    found: list[Link] = []
    start = release
    while release > end_release and sha is not None:
        manifest = read_link(store, sha)
        if manifest.release != release or manifest.parent_release >= release:
            raise StoreError(
                f"it is of release {manifest.release} on {manifest.parent_release}, not of release {release}",
                where=f"manifest {sha}",
            )
        found.append(manifest)
        release, sha = manifest.parent_release, manifest.parent
    if release != end_release or sha != end_sha:
        raise StoreError(
            f"release {start} does not descend from release {end_release} as it is known here",
            where="chain",
            mend="Were ledger or store replaced by another one? Then rebuild from release 0.",
        )
    return found
