"""The way from one release to another: manifests along parents, forwards or in reverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from distributor.errors import StoreError
from distributor.model.manifest import ZERO, Chunk, Manifest
from distributor.store.base import Store
from distributor.store.chunks import read_manifest


class Direction(StrEnum):
    """Whether a changeset is applied as written, or undone."""

    FORWARD = "forward"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Step:
    """One changeset on the way."""

    manifest: Manifest
    direction: Direction

    def chunks(self, dataset: str) -> tuple[Chunk, ...]:
        """The chunks of one dataset."""
        return tuple(chunk for chunk in self.manifest.chunks if chunk.dataset == dataset)


@dataclass(frozen=True, slots=True)
class Chain:
    """Changesets in the order in which they are applied; none when nothing is to be done."""

    steps: tuple[Step, ...]

    @property
    def rows(self) -> int:
        """Rows of all changesets: the most that the net delta can have."""
        return sum(chunk.rows for step in self.steps for chunk in step.manifest.chunks)

    def touching(self, dataset: str) -> tuple[Step, ...]:
        """The steps that change one dataset."""
        return tuple(step for step in self.steps if step.chunks(dataset))


Read = Callable[[str], Manifest]
"""How a manifest is had by its sha256. Raises StoreError."""


def walk(
    store: Store,
    to_sha: str | None,
    to_release: int,
    from_sha: str | None,
    from_release: int,
    *,
    read: Read | None = None,
) -> Chain:
    """The chain between two releases, each given by its manifest's sha256 (None for release 0) and its number.

    `read` is for whoever keeps manifests that were read before; without it they come from the store.
    Raises StoreError when an object is missing, or when neither release is an ancestor of the other.
    """
    read = read or partial(read_manifest, store)
    if to_release >= from_release:
        manifests = _down(read, to_sha, to_release, from_sha, from_release)
        return Chain(tuple(Step(manifest, Direction.FORWARD) for manifest in reversed(manifests)))
    manifests = _down(read, from_sha, from_release, to_sha, to_release)
    return Chain(tuple(Step(manifest, Direction.REVERSE) for manifest in manifests))


def _down(read: Read, sha: str | None, release: int, end_sha: str | None, end_release: int) -> list[Manifest]:
    """The manifests from a release down to, and without, its ancestor; newest first."""
    for number, given in ((release, sha), (end_release, end_sha)):
        if (number == ZERO) != (given is None):
            raise StoreError(f"release {number} with the manifest {given}: only release 0 has none", where="chain")
    found: list[Manifest] = []
    start = release
    while release > end_release and sha is not None:
        manifest = read(sha)
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
