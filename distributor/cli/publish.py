"""`publish`: makes a release of what changed on the master."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.options import DryRun
from distributor.cli.outcome import Outcome
from distributor.cli.releases import changed
from distributor.model.manifest import Counts
from distributor.views.base import View
from distributor.views.wording import count

Hear = Callable[[str, str, int], None]


class FailedRule(View):
    """A quality rule that failed."""

    dataset: str
    """The dataset."""
    rule: str
    """The rule's name."""
    demand: str
    """What it demands."""
    on_fail: Literal["quarantine", "warn"]
    """`quarantine`: the rows are held back from every environment; `warn`: they went out."""
    rows: int
    """How many rows fail it and did not before; 0 for a rule about the dataset's size."""
    samples: tuple[str, ...]
    """Up to ten of them, with their values; for a rule about the size, what is wrong with it."""


class Published(Outcome):
    """What a publish came to."""

    release: int | None
    """The new release; null when nothing had changed, and with `--dry-run`."""
    manifest: str | None
    """sha256 of its manifest in the store; null when there is no new release."""
    rows: int
    """How many rows changed."""
    counts: dict[str, Counts]
    """Dataset → inserts, updates and deletes."""
    whole: tuple[str, ...]
    """Datasets that were read whole, because no triggers saw their changes."""
    phases: dict[str, float]
    """Phase → seconds."""
    restarts: dict[str, tuple[str, ...]]
    """Dataset → what changed of its columns, where its `drift` is `evolve`: all its rows travel in the new shape."""
    ignored: dict[str, tuple[str, ...]]
    """Dataset → columns that are new on the master and left out, because its `drift` is `ignore`."""
    failed_rules: tuple[FailedRule, ...]
    """Quality rules that failed and did not refuse the release."""
    held_back: dict[str, int]
    """Dataset → how many of its rows are held back from every environment now."""
    let_go: dict[str, int]
    """Dataset → how many rows were held back before and are no longer."""
    dry_run: bool
    """Whether nothing was published because of `--dry-run`."""

    def show(self, console: Console) -> None:
        """One line of what changed, and what was read whole."""
        took = f"in {sum(self.phases.values()):.2f} s"
        if self.dry_run:
            console.print(f"a release would change {count(self.rows, 'row')}: {changed(self.counts)} ({took})")
        elif self.release is None:
            console.print(f"nothing has changed: no release was made ({took})")
        else:
            console.print(f"release {self.release}: {count(self.rows, 'row')}, {changed(self.counts)} ({took})")
        if self.whole:
            console.print(f"read whole: {', '.join(self.whole)}")
        for dataset, changes in self.restarts.items():
            console.print(f"{dataset} has another shape, and travels with all its rows: {'; '.join(changes)}")
        for dataset, changes in self.ignored.items():
            console.print(f"left out of {dataset}: {'; '.join(changes)}")
        for failed in self.failed_rules:
            done = "held back" if failed.on_fail == "quarantine" else "published with a warning"
            of = f"{count(failed.rows, 'row')} of {failed.dataset}" if failed.rows else failed.dataset
            console.print(f"{done}: {of}, rule {failed.rule} ({failed.demand}): {'; '.join(failed.samples)}")
        if self.held_back:
            held = ", ".join(f"{count(rows, 'row')} of {dataset}" for dataset, rows in self.held_back.items())
            console.print(f"held back from every environment: {held}; see `distributor quarantine list`")
        for dataset, gone in self.let_go.items():
            console.print(f"held back no longer: {count(gone, 'row')} of {dataset}")


def publish(desk: Desk, dry_run: DryRun = False) -> Published:
    """Make a release of what has changed on the master since the newest one; none when nothing has.

    A publisher (`serve publisher`) does the same by itself whenever something changes.
    """
    from distributor.publishing.publish import publish as make_release

    with _heard(desk) as hear:
        result = make_release(desk.settings, desk.store, dry_run=dry_run, progress=hear)
    for policy, why in result.unmasked.items():
        desk.say(f"release {result.release} has no edition under {policy}: {why}")
    if result.release is not None and not dry_run:
        desk.note("publish", release=result.release, rows=result.rows)
    return Published(
        release=result.release,
        manifest=result.manifest,
        rows=result.rows,
        counts=dict(result.counts),
        whole=result.whole,
        phases=dict(result.phases),
        restarts=dict(result.restarts),
        ignored=dict(result.ignored),
        failed_rules=tuple(
            FailedRule.model_validate({name: getattr(finding, name) for name in FailedRule.model_fields})
            for finding in result.judged.findings
        ),
        held_back=dict(result.judged.held),
        let_go=dict(result.judged.let_go),
        dry_run=dry_run,
    )


@contextmanager
def _heard(desk: Desk) -> Iterator[Hear]:
    """Progress: a line that changes on a terminal, elsewhere one line for each dataset."""
    if desk.notes.is_terminal:
        with desk.notes.status("looking at the master") as status:
            yield lambda phase, dataset, rows: status.update(f"{phase} {dataset} {count(rows, 'row')}")
        return
    said: set[tuple[str, str]] = set()

    def say_once(phase: str, dataset: str, _rows: int) -> None:
        if dataset and (phase, dataset) not in said:
            said.add((phase, dataset))
            desk.say(f"{phase} {dataset}")

    yield say_once
