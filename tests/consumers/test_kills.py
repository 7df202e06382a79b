"""A consumer that is killed at any point goes on after its restart: nobody has to send a command again."""

from __future__ import annotations

from typing import TypeVar

import pytest

from distributor.telemetry.faults import KILLED, Point
from distributor.wire.messages import FlippedReport, MemberCommand, MemberReport, RevertedReport, StagedReport
from tests.consumers.catalogue import Catalogue, prices, products
from tests.consumers.estate import Coordinator, Member
from tests.support import wait_for

Report = TypeVar("Report", bound=MemberReport)
NAMED = (Point.INBOX_AFTER_SAVE, Point.DELIVERY_AFTER_ACK)
POINTS = [point for point in Point if point.startswith("consumer.") and point not in NAMED]
ON_POSTGRESQL = [Point.LOAD_BETWEEN_BATCHES, Point.FLIP_BEFORE_COMMIT, Point.FLIP_AFTER_COMMIT]


def answered(
    member: Member, coordinator: Coordinator, command: MemberCommand, kind: type[Report], kills: list[int]
) -> Report:
    """The answer to a command that is sent once; a process that dies meanwhile is started again, whole."""
    coordinator.send(command)

    def arrived() -> Report | None:
        if member.process is not None and (code := member.process.poll()) is not None:
            kills.append(code)
            member.start()
        return coordinator.seen(kind, lambda report: report.epoch == command.epoch)

    return wait_for(arrived, 30, f"{kind.TYPE} for epoch {command.epoch}")


def journey(member: Member, coordinator: Coordinator, catalogue: Catalogue, point: Point) -> None:
    catalogue.publish(products=products(30), prices=prices(30))
    catalogue.publish(products=products(12, name="Bank"))
    kills: list[int] = []
    member.start(fault=point)
    for epoch, release in ((1, 1), (2, 2)):
        command = coordinator.stage(epoch, release, from_release=release - 1)
        assert answered(member, coordinator, command, StagedReport, kills).release == release
        flip = coordinator.flip(epoch, release)
        assert answered(member, coordinator, flip, FlippedReport, kills).shows == release
        assert (member.shows(), member.content()) == (release, catalogue.contents[release])
    assert answered(member, coordinator, coordinator.revert(3, of=2), RevertedReport, kills).shows == 1
    assert (member.shows(), member.content()) == (1, catalogue.contents[1])
    # What dies after its answer may die only now.
    wait_for(lambda: kills or member.died() == KILLED, what=f"the death at {point}")
    assert kills in ([KILLED], [])


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue, point: Point) -> None:
    journey(sqlite_member, coordinator, catalogue, point)


def test_inbox_row_then_kill_before_ack(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    journey(sqlite_member, coordinator, catalogue, Point.INBOX_AFTER_SAVE)


def test_ack_then_kill_before_work(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    journey(sqlite_member, coordinator, catalogue, Point.DELIVERY_AFTER_ACK)


@pytest.mark.parametrize("point", ON_POSTGRESQL)
def test_killed_around_a_transaction_of_postgresql(
    postgresql_member: Member, coordinator: Coordinator, catalogue: Catalogue, point: Point
) -> None:
    journey(postgresql_member, coordinator, catalogue, point)
