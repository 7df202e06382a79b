"""When to publish: after quiet, at the latest after the longest delay, with slow polls while nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.capture.fixed import connect
from distributor.capture.journal import Changed, Pending, changed, pending
from distributor.capture.scans import Schedule
from distributor.capture.watch import (
    LONGEST_POLL,
    SHORTEST_POLL,
    Gathering,
    Publish,
    Wait,
    Why,
    catalogue,
    judge,
    sentence,
)
from distributor.settings.models import Dataset
from tests.capture.master import datasets, install_capture, run


def decisions(*looks: tuple[float, Pending | None], quiet: float = 1.0, longest: float = 3.0) -> list[Wait | Publish]:
    gathering, found = Gathering(), []
    for at, waiting in looks:
        gathering, decision = judge(gathering, waiting, at, quiet, longest)
        found.append(decision)
    return found


def test_polls_slow_down_while_nothing_happens() -> None:
    waits = decisions(*[(float(at), None) for at in range(100, 120)])
    seconds = [wait.seconds for wait in waits if isinstance(wait, Wait)]
    assert seconds[0] == SHORTEST_POLL
    assert seconds == sorted(seconds)
    assert seconds[5] == 0.05
    assert seconds[-1] == LONGEST_POLL


def test_a_change_makes_polls_quick_again() -> None:
    looks = [*((float(at), None) for at in range(20)), (20.0, Pending(1, 1, 0.0)), (20.1, None)]
    assert decisions(*looks)[-2:] == [Wait(SHORTEST_POLL)] * 2


def test_publishes_when_it_has_been_quiet() -> None:
    change = Pending(1, 7, 0.0)
    found = decisions((10.0, None), (10.1, change), (10.9, change), (11.1, change))
    assert [isinstance(decision, Publish) for decision in found] == [False, False, False, True]


def test_further_changes_prolong_but_not_beyond_the_longest_delay() -> None:
    looks = [(at / 2, Pending(at + 1, at + 1, at / 2)) for at in range(7)]
    found = decisions(*looks)
    assert [isinstance(decision, Publish) for decision in found] == [False] * 6 + [True]


def test_what_has_waited_before_the_start_counts() -> None:
    assert decisions((100.0, Pending(5, 5, 60.0))) == [Publish(Why.DELAY, 60.0)]


def test_quiet_counts_from_the_writing_and_not_from_the_look_that_found_it() -> None:
    looks = [(10.0, None), (10.1, Pending(1, 7, 0.09, 0.09)), (11.0, Pending(1, 7, 0.99, 0.99))]
    assert isinstance(decisions(*looks)[-1], Wait)
    assert decisions(*looks, (11.01, Pending(1, 7, 1.0, 1.0)))[-1] == Publish(Why.QUIET, pytest.approx(1.0))


def test_a_writer_that_commits_late_does_not_make_what_others_wrote_quiet() -> None:
    looks = [(10.0, Pending(1, 7, 0.0, 0.0)), (10.9, Pending(2, 7, 5.0, 0.9)), (11.0, Pending(2, 7, 5.1, 1.0))]
    found = decisions(*looks, longest=30.0)
    assert [isinstance(decision, Publish) for decision in found] == [False, False, True]
    later = decisions((10.0, Pending(1, 7, 0.0, 0.0)), (10.9, Pending(2, 8, 0.9, 0.4)), (11.0, Pending(2, 8, 1.0, 0.5)))
    assert not any(isinstance(decision, Publish) for decision in later)


def test_much_is_not_kept_waiting() -> None:
    _, decision = judge(Gathering(), Pending(3, 9, 0.5, 0.1), 10.0, 60.0, 600.0, much=True)
    assert decision == Publish(Why.MUCH, 0.5)


@given(
    written=st.lists(st.integers(0, 200), min_size=1, max_size=12),
    pauses=st.lists(st.integers(1, 20), min_size=1, max_size=60),
    quiet=st.integers(1, 60),
    longest=st.integers(1, 120),
)
def test_no_look_publishes_before_quiet_or_after_the_longest_delay(
    written: list[int], pauses: list[int], quiet: int, longest: int
) -> None:
    """Whole seconds. At each look, the oracle knows all that is written by then and not published yet."""
    gathering, now, published = Gathering(), 0, -1
    for pause in pauses:
        now += pause
        there = [at for at in written if published < at <= now]
        waiting = Pending(len(there), len(there), now - min(there), now - max(there)) if there else None
        gathering, decision = judge(gathering, waiting, now, quiet, longest)
        due = bool(there) and (now - max(there) >= quiet or now - min(there) >= longest)
        assert isinstance(decision, Publish) == due
        if isinstance(decision, Publish):
            published = now
            assert decision.waited >= min(quiet, longest)
        elif there:
            assert 0 < decision.seconds <= SHORTEST_POLL


@pytest.mark.parametrize(
    ("decision", "amount", "expected"),
    [
        (Publish(Why.QUIET, 1.004), Changed(3), "waited 1.0 s for quiet (3 changed keys since 14:02:11)"),
        (Publish(Why.QUIET, 1.0), Changed(1, ("prices",)), "waited 1.0 s for quiet (1 changed key and all of prices"
         " since 14:02:11)"),
        (Publish(Why.DELAY, 30.0), Changed(2041, more=True), "waited 30.0 s, and no longer for quiet: max_delay is 30 s"
         " (more than 2,041 changed keys since 14:02:11)"),
        (Publish(Why.MUCH, 0.1), Changed(5000), "waited no longer for quiet: max_rows is 5,000 (5,000 changed keys"
         " since 14:02:11)"),
        (Publish(Why.QUIET, 1.0), Changed(0, ("prices",)), "waited 1.0 s for quiet (all of prices since 14:02:11)"),
    ],
)  # fmt: skip
def test_why_it_publishes_in_a_sentence(decision: Publish, amount: Changed, expected: str) -> None:
    since = datetime(2026, 11, 23, 14, 2, 11, 900_000, tzinfo=UTC)
    assert sentence(decision, amount, since, max_delay=30.0, max_rows=5000) == expected


def test_what_waits_is_counted_in_keys(database: Callable[[], str]) -> None:
    url, wanted = database(), datasets(products="products")
    run(url, "CREATE TABLE products (sku text PRIMARY KEY)")
    with connect(url) as conn:
        conn.autocommit = True
        assert (changed(conn, wanted), pending(conn, wanted)) == (Changed(), None)
        install_capture(url, wanted)
        assert changed(conn, wanted) == Changed(0, ("products",))
        run(url, "INSERT INTO products SELECT n::text FROM generate_series(1, 12000) n", "DELETE FROM products")
        assert changed(conn, wanted) == Changed(24_000, ("products",))
        waits = pending(conn, wanted)
        assert waits is not None
        assert waits.oldest_age > waits.newest_age > 0


def test_the_last_wait_ends_when_it_is_due() -> None:
    change = Pending(1, 1, 0.0)
    last = decisions((0.0, change), (0.995, change))[-1]
    assert isinstance(last, Wait)
    assert 0.004 < last.seconds < 0.006


def test_what_no_trigger_watches_is_scanned_at_first_and_then_from_time_to_time() -> None:
    wanted = {
        "seen": Dataset(table="seen"),
        "unseen": Dataset(table="unseen"),
        "proven": Dataset.model_validate({"table": "proven", "scan_every": "1h"}),
        "view": Dataset.model_validate({"table": "view", "capture": "scan", "scan_every": "5s"}),
    }
    schedule, unseen = Schedule(wanted, 30.0), {"unseen", "view"}
    assert schedule.due(unseen, 1000.0) == {"unseen", "proven", "view"}
    schedule.scanned({"unseen", "proven", "view"}, 1000.0)
    assert schedule.due(unseen, 1004.9) == frozenset()
    assert schedule.next_at(unseen) == 1005.0
    assert schedule.due(unseen, 1005.0) == {"view"}
    schedule.scanned({"view"}, 1059.0)
    assert schedule.next_at(unseen) == 1060.0
    assert schedule.due(unseen, 1064.0) == {"unseen", "view"}
    assert schedule.due(unseen, 4600.0) == {"unseen", "proven", "view"}
    assert Schedule({"seen": wanted["seen"]}, 30.0).next_at(()) is None


def test_the_catalogue_knows_partitions_and_triggers(database: Callable[[], str]) -> None:
    url, wanted = database(), datasets(products="products")
    run(
        url,
        "CREATE TABLE products (sku text PRIMARY KEY) PARTITION BY LIST (sku)",
        "CREATE TABLE a PARTITION OF products FOR VALUES IN ('a')",
        "CREATE TABLE b (sku text PRIMARY KEY)",
    )
    with connect(url) as conn:
        conn.autocommit = True
        assert catalogue(conn, wanted).unseen == {"products"}
        install_capture(url, wanted)
        first = catalogue(conn, wanted)
        assert first.unseen == frozenset()
        run(url, "INSERT INTO products VALUES ('a')")
        assert catalogue(conn, wanted) == first
        run(url, "ALTER TABLE products ATTACH PARTITION b FOR VALUES IN ('b')")
        attached = catalogue(conn, wanted)
        assert (attached.identities != first.identities, attached.unseen) == (True, {"products"})
        run(url, "DROP TABLE b")
        assert catalogue(conn, wanted) == first
        run(url, "ALTER TABLE a DISABLE TRIGGER distributor_products_insert")
        assert catalogue(conn, wanted).unseen == {"products"}
