"""A real consumer over Redis: releases come and go back, killed around each step, and what was altered is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distributor.telemetry.faults import Point
from distributor.wire.messages import FlippedReport, StagedReport
from tests.adapters.test_redis import RedisSeat, seats
from tests.consumers.catalogue import Catalogue, Content, prices, products
from tests.consumers.estate import Coordinator, Member
from tests.consumers.test_kills import journey

__all__ = ["seats"]
POINTS = [
    Point.LOAD_BETWEEN_BATCHES,
    Point.LOAD_BEFORE_COMMIT,
    Point.LOAD_AFTER_COMMIT,
    Point.FLIP_BEFORE_COMMIT,
    Point.FLIP_AFTER_COMMIT,
    Point.REVERT_BEFORE_COMMIT,
]


class RedisMember(Member):
    """Read as the page tells readers to."""

    def __init__(self, directory: Path, seat: RedisSeat, amqp_url: str, catalogue: Catalogue) -> None:
        super().__init__(directory, "redis", seat.url, amqp_url, catalogue)
        self.seat = seat
        with_prefix = f'adapter = "redis"\noptions = {{ prefix = "{seat.prefix}" }}\n'
        self.config.write_text(self.config.read_text().replace('adapter = "redis"\n', with_prefix))

    def shows(self) -> int:
        return int(self.seat.redis.hget(self.seat.key("distributor_release"), "release") or 0)

    def content(self) -> Content:
        return {"products": self._rows("items", 4), "prices": self._rows("prices", 3)}

    def _rows(self, table: str, width: int) -> set[tuple[str | None, ...]]:
        _, columns, cursor, *rows = self.seat.redis.fcall_ro(  # type: ignore[misc]
            "distributor_scan", 1, self.seat.prefix, table, "0", "100000"
        )
        assert cursor == "0"
        assert len(columns) == width
        return {tuple(row) for row in rows}

    def alter(self, slot: str, table: str, change: str) -> int:
        """Loses a piece of the table's rows."""
        shown = str(self.seat.redis.hget(self.seat.key("distributor_release"), "slot"))
        place = shown if slot == "online" else {"a": "b", "b": "a"}[shown]
        generation = str(self.seat.redis.hget(self.seat.key("slot", place, table), "generation"))
        pieces = self.seat.redis.scan_iter(self.seat.key("rows", generation, "*", table))
        return int(self.seat.redis.delete(next(pieces)))


@pytest.fixture
def member(
    tmp_path: Path, amqp_url: str, catalogue: Catalogue, seats: Callable[[], RedisSeat]
) -> Iterator[RedisMember]:
    made = RedisMember(tmp_path, seats(), amqp_url, catalogue)
    yield made
    made.close()


@pytest.mark.parametrize("point", POINTS)
def test_killed_around_a_step_in_redis(
    member: RedisMember, coordinator: Coordinator, catalogue: Catalogue, point: Point
) -> None:
    journey(member, coordinator, catalogue, point)


def test_what_was_lost_from_the_shadow_is_found_and_loaded_anew(
    member: RedisMember, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    catalogue.publish(products=products(300), prices=prices(30))
    catalogue.publish(products=products(12, name="Bank"))
    catalogue.publish(products=products(20, name="Stuhl"))
    member.audits("always")
    member.start()
    for epoch, release in ((1, 1), (2, 2), (3, 3)):
        coordinator.send(coordinator.stage(epoch, release, from_release=release - 1))
        assert coordinator.expect(StagedReport, lambda report, e=epoch: report.epoch == e).release == release  # type: ignore[misc]
        coordinator.send(coordinator.flip(epoch, release))
        coordinator.expect(FlippedReport, lambda report, e=epoch: report.epoch == e)  # type: ignore[misc]
        assert (member.shows(), member.content()) == (release, catalogue.contents[release])
        if release == 2:
            assert member.alter("shadow", "items", "") == 1
    assert "the slot was altered and is loaded anew" in member.log.read_text()
