"""Named points at which a test may kill this process, between two steps that could be one only in theory.

`DISTRIBUTOR_FAULT=<point>` dies at the first passing of that point, `<point>:<n>` at the n-th. Nothing else sets it.
"""

from __future__ import annotations

import os
from enum import StrEnum

KILLED = 137
"""The exit code of a process that died at a point, as of one that got SIGKILL."""


class Point(StrEnum):
    """Every point that there is; a chaos run walks through them all."""

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


def _armed() -> tuple[Point | None, int]:
    name, _, passing = os.environ.get("DISTRIBUTOR_FAULT", "").partition(":")  # noqa: TID251
    return (Point(name) if name else None), int(passing or 1)


_ARMED, _remaining = _armed()


def point(name: Point) -> None:
    """Dies here, without unwinding anything, when this point is armed."""
    global _remaining
    if name is _ARMED:
        _remaining -= 1
        if _remaining == 0:
            os._exit(KILLED)
