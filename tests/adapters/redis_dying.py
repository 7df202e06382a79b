"""A consumer's process that is killed in the midst: `python -m tests.adapters.redis_dying URL PREFIX POINT`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from consumers.adapters import redis_load
from consumers.adapters.redis import RedisAdapter
from consumers.conformance.hands import holding
from consumers.conformance.samples import PRICE_TABLE, batch, numbered_rows
from distributor.rollout.member_row import MemberRow
from distributor.settings import MemberSettings

POINTS = ("while it writes", "before it commits", "under the lock", "in a member's transaction", "before it sweeps")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, prefix: str, point: str) -> None:
    adapter = RedisAdapter(MemberSettings(adapter="redis", url=url, options={"prefix": prefix}), Path())
    if point == "in a member's transaction":
        with adapter.member() as member:
            member.save(holding(member.row, "b", 2))
            die()

    def guard(row: MemberRow) -> MemberRow:
        if point == "under the lock":
            die()
        return holding(row, "b", 2)

    with adapter.loading("b") as loading:
        loading.apply(batch(PRICE_TABLE, numbered_rows(900, 2)))
        if point == "while it writes":
            die()
        loading.apply(batch(PRICE_TABLE, (), numbered_rows(50, 2)))
        if point == "before it commits":
            die()
        redis_load.sweep = lambda _: die()
        loading.commit(guard)


if __name__ == "__main__":
    main(*sys.argv[1:])
