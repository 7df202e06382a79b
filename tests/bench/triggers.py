"""How soon automation acts: from the commit of a change on the master to the start of a rollout, over quiet periods.

Twice: an environment that takes every release at once, and one with a trigger on change that waits for its own quiet.
Beside each change, a bare NOTIFY on the same server: from the answer to a commit until another session has heard of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from distributor.rollout.state import Rollout
from tests.bench.figures import Distribution, Figure
from tests.bench.lab import ENVIRONMENT, SIX, Lab, running_lab

CHANGES, QUICK_CHANGES = 200, 30
PRODUCTS, CHANGED_ROWS = 20_000, 3
QUIET_MS, RULE_QUIET_MS = 300, 200
TARGET_MS = 200
_WARM_UP, _TELL_EVERY = 3, 50
_LONGEST_PAUSE = 0.4


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds over the quiet periods: until the release was made, from there on, and together; and the peer's."""

    release: Distribution
    rollout: Distribution
    together: Distribution
    notify: Distribution


@dataclass(frozen=True, slots=True)
class Triggers:
    """Both environments. `quiet_ms` is the publisher's, `rule_quiet_ms` that of the environment's own trigger."""

    changes: int
    changed_rows: int
    quiet_ms: int
    rule_quiet_ms: int
    at_once: Latencies
    by_rule: Latencies

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        quiet = f"{self.quiet_ms} ms of quiet"
        for what, found in ((quiet, self.at_once), (f"{quiet} and {self.rule_quiet_ms} ms of a trigger", self.by_rule)):
            told = found.together
            name = f"commit to rollout started, {told.count:,} changes, over {what}, p99"
            yield Figure(name, f"{told.p99_ms} ms", f"< {TARGET_MS} ms", told.p99_ms < TARGET_MS)
            yield Figure("  p50, p90, max", f"{told.p50_ms}, {told.p90_ms}, {told.max_ms} ms")
            release, rollout = found.release, found.rollout
            yield Figure("  until the release, p50, p99", f"{release.p50_ms}, {release.p99_ms} ms")
            yield Figure("  from there to the rollout, p50, p99", f"{rollout.p50_ms}, {rollout.p99_ms} ms")
            yield Figure("  a bare NOTIFY beside it, p50, p99", f"{found.notify.p50_ms}, {found.notify.p99_ms} ms")


def measure(directory: Path, changes: int, seed: int, say: Callable[[str], None]) -> Triggers:
    """Each environment in an estate of its own, one change after the other, at times that follow no pattern."""
    rule = f'{{name = "calm", on = "change", quiet_period = "{RULE_QUIET_MS}ms"}}'
    found = []
    for what, rules, rule_quiet in (("at once", (), 0), ("by its own trigger", (rule,), RULE_QUIET_MS)):
        with running_lab(
            directory / what.replace(" ", "-"),
            PRODUCTS,
            seed,
            say=say,
            systems=SIX[:2],
            quiet_period=f"{QUIET_MS}ms",
            triggers=rules,
        ) as lab:
            found.append(_latencies(lab, changes, seed, rule_quiet, lambda told, what=what: say(f"{what}: {told}")))
    return Triggers(changes, CHANGED_ROWS, QUIET_MS, RULE_QUIET_MS, *found)


def _latencies(lab: Lab, changes: int, seed: int, rule_quiet: int, say: Callable[[str], None]) -> Latencies:
    pauses = random.Random(seed)
    release, rollout, notify = [], [], []
    url = lab.estate.ledger_url
    with psycopg.connect(url, autocommit=True) as ledger, psycopg.connect(url, autocommit=True) as listener:
        listener.execute("LISTEN bench")
        for number in range(1, _WARM_UP + changes + 1):
            time.sleep(pauses.uniform(0, _LONGEST_PAUSE))
            heard = _notify(ledger, listener)
            committed, made_at, started = _carried(lab, ledger)
            if number <= _WARM_UP:
                continue
            notify.append(heard)
            release.append(_ms(made_at - committed) - QUIET_MS)
            rollout.append(_ms(started - made_at) - rule_quiet)
            if number % _TELL_EVERY == 0:
                so_far = Distribution.of([a + b for a, b in zip(release, rollout, strict=True)])
                say(f"{len(release):,} of {changes:,} changes: p50 {so_far.p50_ms} ms, p99 {so_far.p99_ms} ms")
    together = [a + b for a, b in zip(release, rollout, strict=True)]
    return Latencies(*(Distribution.of(one) for one in (release, rollout, together, notify)))


def _carried(lab: Lab, ledger: psycopg.Connection) -> tuple[datetime, datetime, datetime]:
    """One change: when its commit was answered, when its release was made, and when its rollout started."""
    target = lab.shown() + 1
    lab.change(CHANGED_ROWS)
    committed = datetime.now(UTC)
    lab.wait_until(lambda: lab.shown() == target, f"release {target}")
    lab.wait_settled()
    row = ledger.execute("SELECT created_at FROM ledger.releases WHERE number = %s", [target]).fetchone()
    last: Rollout | None = lab.ledger.environment(ENVIRONMENT).last
    if row is None or last is None or last.release != target or last.started_at is None:
        raise RuntimeError(f"release {target} is online and the ledger does not tell how: {last}")
    return committed, row[0], last.started_at


def _notify(sender: psycopg.Connection, listener: psycopg.Connection) -> float:
    """Milliseconds from the answer to a commit that notifies until another session has heard of it."""
    sender.execute("NOTIFY bench")
    committed = time.perf_counter()
    if not list(listener.notifies(timeout=10, stop_after=1)):
        raise TimeoutError("nothing was heard of a NOTIFY")
    return (time.perf_counter() - committed) * 1000


def _ms(length: timedelta) -> float:
    return length / timedelta(milliseconds=1)
