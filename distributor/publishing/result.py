"""What a publish came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from distributor.model.manifest import Counts
from distributor.publishing.proof import Missed
from distributor.quality.judging import Judged

Progress = Callable[[str, str, int], None]
"""Called with the phase, the dataset (or nothing) and the rows that the phase has dealt with so far."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """`release` is None when nothing had changed, and in a dry run. `phases` are seconds by name.

    `missed`: datasets whose triggers were put to the proof → what they had missed, which is part of the release like
    any other change; None: nothing.
    `restarts`: datasets that begin anew in another shape → what changed. `ignored`: datasets → what is new on the
    master and left out, by their drift policy. `judged` is what the quality rules said.
    `unmasked`: masking policies → why the release has no edition under them.
    """

    release: int | None
    manifest: str | None
    counts: Mapping[str, Counts]
    whole: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    restarts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    judged: Judged = field(default_factory=Judged)
    missed: Mapping[str, Missed | None] = field(default_factory=dict)
    unmasked: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that changed."""
        return sum(counts.total for counts in self.counts.values())


class Stopwatch:
    """Seconds by phase; a phase may be entered many times."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the block's duration to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - begun
