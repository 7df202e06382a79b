"""All ways to one release: from another one along the tree of manifests, or from nothing, from the nearest base on."""

from __future__ import annotations

from pydantic import ValidationError

from distributor.errors import StoreError
from distributor.model.manifest import Base
from distributor.store.base import Store
from distributor.store.chain import Chain, Direction, Manifests, Position, Step, between

BASE = "base"
"""The kind of name under which a release's base is found; the name is the sha256 of the release's manifest."""


class Ways:
    """Ways to a release, given by its manifest's sha256 (None for release 0) and its number. Raises StoreError.

    Manifests are kept as long as it is; for one thread.
    """

    def __init__(self, store: Store, sha256: str | None, release: int) -> None:
        self._store = store
        self._to = Position(release, sha256)
        self._manifests = Manifests(store)

    def delta(self, sha256: str | None, release: int) -> Chain:
        """The chain from another release: see `walk`."""
        return between(self._manifests, self._to, Position(release, sha256))

    def anew(self, *, without: str | None = None) -> Chain:
        """The chain from nothing, from the nearest base on or else from release 0; `without` a base of this manifest.

        No base further down leads here in fewer rows: each row of a base is there in the base or in a changeset before.
        """
        found = self._anew(None, without)
        assert found is not None
        return found

    def shorter(self, most: int) -> Chain | None:
        """Like `anew`, if that takes fewer than `most` rows; it is given up where it cannot become less any more."""
        return self._anew(most, None)

    def _anew(self, most: int | None, without: str | None) -> Chain | None:
        self._to.check()
        at, rows = self._to, 0
        steps: list[Step] = []
        restarted: set[str] = set()
        while at.sha256 is not None and (most is None or rows < most):
            base = read_base(self._store, at.sha256) if at.sha256 != without else None
            step = Step(base or self._manifests.link(at), Direction.FORWARD)
            steps.append(step)
            # What lies before a dataset's newest restart is not loaded.
            rows += sum(chunk.rows for chunk in step.manifest.chunks if chunk.dataset not in restarted)
            restarted.update(step.restarts)
            if isinstance(step.manifest, Base):
                break
            at = Position(step.manifest.parent_release, step.manifest.parent)
        return Chain(tuple(reversed(steps))) if most is None or rows < most else None


def read_base(store: Store, manifest: str) -> Base | None:
    """The base of a release, by its manifest's sha256; None when there is none that can be used."""
    try:
        sha256 = store.linked(BASE, manifest)
        if sha256 is None:
            return None
        base = Base.model_validate_json(store.get(sha256))
    except (StoreError, ValidationError):
        # Without it the way is longer, and no worse.
        return None
    return base if base.manifest == manifest else None
