"""The page of skews (`--markdown FILE`): what was measured, on what, by which command, and the histograms."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tests.bench.figures import Distribution
from tests.bench.flips import IDLE_TARGET_MS, READERS_TARGET_MS, Flips
from tests.bench.lab import FLIP_LEAD, KEEP_PREVIOUS, QUIET_PERIOD

_WIDTH = 120


def page(flips: Flips, machine: str) -> str:
    """The whole page as Markdown."""
    return "\n".join(_lines(flips, machine)) + "\n"


def _lines(flips: Flips, machine: str) -> Iterator[str]:
    count = flips.idle.reported.count
    yield from ("# The skew of flips", "", "Printed by", "")
    yield f"    deploy/run bench --only flips --flips {count} --markdown docs/skew.md"
    yield from _paragraph(
        "The skew of a rollout is the time from its first required member's flip to the last one's. For that long a"
        " reader of one system sees the new release while a reader of another still sees the old one."
    )
    yield from _paragraph(
        f"**What was measured:** {flips.systems} PostgreSQL systems in as many databases of one server (PostgreSQL"
        f" {flips.postgresql}), each with a consumer process of its own; {flips.products:,} products and as many"
        f" prices; {flips.changed_rows} rows changed on the master for every flip; quiet period {QUIET_PERIOD}, flip"
        f" lead {FLIP_LEAD}, `keep_previous` {KEEP_PREVIOUS}; the next change as soon as both slots of every system"
        f" had settled. {count:,} flips with idle systems, then {flips.readers.reported.count:,} with readers on all"
        f" of them ({flips.reads_per_second:g} joins a second on each; {flips.reads:,} reads, {flips.reader_errors}"
        " errors)."
    )
    yield from _paragraph(
        f"**On what:** {machine}; everything on this one machine: master, ledger, broker, coordinator and systems."
    )
    yield from ("", "| load | told by | p50 | p90 | p99 | max | target of p99 |", "|---|---|---|---|---|---|---|")
    for load, skews, target in (("idle", flips.idle, IDLE_TARGET_MS), ("readers", flips.readers, READERS_TARGET_MS)):
        yield _row(load, "the ledger", skews.reported, target)
        yield _row(load, "commit times", skews.committed, target)
    yield from _paragraph(
        "*The ledger* measures from the members' reports, in the coordinator's time, and `rollout ID` shows it for"
        " every rollout. A member takes the time inside the transaction that flips, so what the commit then takes is"
        f" not in it. Its uncertainty, from the clocks of members: at most ± {flips.idle.uncertainty_p99_ms:g} ms in"
        f" 99 of 100 flips with idle systems, ± {flips.readers.uncertainty_p99_ms:g} ms with readers."
    )
    yield from _paragraph(
        "*Commit times* are what the systems' server itself remembers (`track_commit_timestamp`) of the transactions"
        " that flipped: one clock, and no member has a hand in it."
    )
    for load, skews in (("Idle systems", flips.idle), ("Readers on all systems", flips.readers)):
        for told, found in (("by the ledger", skews.reported), ("by commit times", skews.committed)):
            yield from ("", f"## {load}, {told}", "", "```", *found.bars(), "```")


def _paragraph(text: str) -> list[str]:
    return ["", *textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _row(load: str, told: str, found: Distribution, target: int) -> str:
    times = (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms)
    return f"| {load} | {told} | {' | '.join(f'{ms:.1f} ms' for ms in times)} | < {target} ms |"
