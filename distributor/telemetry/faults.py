"""Named points at which a test may kill this process, between two steps that could be one only in theory.

`DISTRIBUTOR_FAULT=<point>` dies at the first passing of that point, `<point>:<n>` at the n-th. `@<file>` arms a process
that runs: the file names the point, or is not there, and is gone when the process has died at it. Nothing else sets the
variable; without it a point is one comparison. A wrong clock is `DISTRIBUTOR_CLOCK_OFFSET`, in clock.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

KILLED = 137
"""The exit code of a process that died at a point, as of one that got SIGKILL."""


class Point(StrEnum):
    """Every point that there is; a chaos run walks through them all. The first word is the process that passes it."""

    JOURNAL_TAKEN = "publisher.journal.taken"
    STORE_BEFORE_SAVE = "publisher.store.before_save"
    STORE_AFTER_SAVE = "publisher.store.after_save"
    CHUNKS_STORED = "publisher.chunks.stored"
    MANIFEST_STORED = "publisher.manifest.stored"
    RELEASE_BEFORE_COMMIT = "publisher.release.before_commit"
    BETWEEN_COMMITS = "publisher.release.after_commit"
    KEYS_AFTER_COMMIT = "publisher.keys.after_commit"

    STEP_BEFORE_WORK = "coordinator.step.before_work"
    STEP_BEFORE_COMMIT = "coordinator.step.before_commit"
    STEP_AFTER_COMMIT = "coordinator.step.after_commit"
    REPORT_BEFORE_ACK = "coordinator.report.before_ack"
    REPORT_AFTER_ACK = "coordinator.report.after_ack"
    TICK_BEFORE_COMMIT = "coordinator.tick.before_commit"
    TICK_AFTER_COMMIT = "coordinator.tick.after_commit"
    FOLLOW_BEFORE_COMMIT = "coordinator.follow.before_commit"
    FOLLOW_AFTER_COMMIT = "coordinator.follow.after_commit"
    RESET_BEFORE_COMMIT = "coordinator.reset.before_commit"
    RESET_AFTER_COMMIT = "coordinator.reset.after_commit"
    REQUEST_BEFORE_COMMIT = "coordinator.request.before_commit"
    REQUEST_AFTER_COMMIT = "coordinator.request.after_commit"
    UNFIT_BEFORE_COMMIT = "coordinator.unfit.before_commit"
    UNFIT_AFTER_COMMIT = "coordinator.unfit.after_commit"
    LETTER_BEFORE_COMMIT = "coordinator.letter.before_commit"
    LETTER_AFTER_COMMIT = "coordinator.letter.after_commit"
    RELAY_BEFORE_SEND = "coordinator.relay.before_send"
    RELAY_AFTER_SEND = "coordinator.relay.after_send"
    RELAY_BEFORE_COMMIT = "coordinator.relay.before_commit"
    RELAY_AFTER_COMMIT = "coordinator.relay.after_commit"

    INBOX_BEFORE_SAVE = "consumer.inbox.before_save"
    INBOX_AFTER_SAVE = "consumer.inbox.after_save"
    DELIVERY_BEFORE_ACK = "consumer.delivery.before_ack"
    DELIVERY_AFTER_ACK = "consumer.delivery.after_ack"
    LOAD_BETWEEN_BATCHES = "consumer.load.between_batches"
    LOAD_BEFORE_COMMIT = "consumer.load.before_commit"
    LOAD_AFTER_COMMIT = "consumer.load.after_commit"
    FLIP_BEFORE_COMMIT = "consumer.flip.before_commit"
    FLIP_AFTER_COMMIT = "consumer.flip.after_commit"
    REVERT_BEFORE_COMMIT = "consumer.revert.before_commit"
    REVERT_AFTER_COMMIT = "consumer.revert.after_commit"
    REPORT_BEFORE_SEND = "consumer.report.before_send"
    REPORT_AFTER_SEND = "consumer.report.after_send"


def point(name: Point) -> None:
    """Dies here, without unwinding anything, when this point is armed."""
    if _armed is not None:
        _armed(name)


def armed_by(wanted: str) -> Callable[[Point], None] | None:
    """What each point asks, for a value of DISTRIBUTOR_FAULT; None when nothing is armed. Raises ValueError."""
    if wanted.startswith("@"):
        file = Path(wanted.removeprefix("@"))
        return _Countdown(lambda: file.read_text() if file.exists() else "", file).passed
    _parsed(wanted)
    return _Countdown(lambda: wanted).passed if wanted else None


class _Countdown:
    """Counts the passings of one point since it was armed. For several threads."""

    def __init__(self, read: Callable[[], str], file: Path | None = None) -> None:
        self._read = read
        self._file = file
        self._wanted = ""
        self._passings = 0
        self._lock = threading.Lock()

    def passed(self, name: Point) -> None:
        with self._lock:
            wanted = self._read()
            if wanted != self._wanted:
                self._wanted, self._passings = wanted, 0
            armed, at = _parsed(wanted)
            if armed is not name:
                return
            self._passings += 1
            if self._passings == at:
                if self._file is not None:
                    # Else the next process would die there too.
                    self._file.unlink(missing_ok=True)
                os._exit(KILLED)


def _parsed(wanted: str) -> tuple[Point | None, int]:
    name, _, passing = wanted.strip().partition(":")
    return (Point(name) if name else None), int(passing or 1)


_armed = armed_by(os.environ.get("DISTRIBUTOR_FAULT", ""))  # noqa: TID251
