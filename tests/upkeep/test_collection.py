"""What is collected, and that nothing is lost that somebody needs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from distributor.errors import RefusedError, StoreError
from distributor.ledger import migrate, quarantine, verifications
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.locks import asking_gate, collecting
from distributor.ledger.quarantine import HeldRow
from distributor.ledger.verifications import Verification
from distributor.model.repair import Repair
from distributor.rollout.state import Cause, Member, Requirement, Rollout, RolloutState, Timing
from distributor.store.chunks import read_link, read_manifest, write_manifest
from distributor.store.directory import DirectoryStore
from distributor.store.ways import BASE, read_base
from distributor.upkeep.collected import refuse_collected
from distributor.upkeep.collection import collect
from tests.store.rows import as_table, difference, state
from tests.support import wait_for
from tests.upkeep.conftest import NOW, RELEASES, History

KEPT = range(4, RELEASES + 1)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, nothing is cleaned up after it."""


class Mortal(DirectoryStore):
    """A store whose process is killed before its n-th change."""

    def __init__(self, path: Path, changes: int) -> None:
        super().__init__(path)
        self._left = changes

    def _pass(self) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1

    def link(self, kind: str, name: str, sha256: str) -> None:
        self._pass()
        super().link(kind, name, sha256)

    def unlink(self, kind: str, name: str) -> None:
        self._pass()
        super().unlink(kind, name)

    def remove(self, sha256: str, before: object) -> bool:
        self._pass()
        return super().remove(sha256, before)  # type: ignore[arg-type]


def rollout(release: int, *, from_release: int = 0, state: RolloutState = RolloutState.QUEUED) -> Rollout:
    return Rollout(
        id=f"r{release}",
        release=release,
        cause=Cause.OPERATOR,
        by="test",
        reason="",
        requested_at=NOW,
        required=frozenset({"crm"}),
        optional=frozenset(),
        expected={},
        timing=Timing(),
        state=state,
        from_release=from_release,
    )


def member(shows: int, shadow: int | None = None, *, heard: timedelta = timedelta()) -> Member:
    return Member(Requirement.REQUIRED, shows=shows, shadow=shadow, heard_at=NOW - heard)


def test_what_lies_before_the_base_goes(history: History) -> None:
    before = history.there()
    would = history.collect(dry_run=True)
    assert history.there() == before
    found = history.collect()
    assert found == would
    assert (found.oldest, found.base, found.releases) == (4, True, 3)
    assert found.needed is not None
    assert (found.needed.release, found.needed.why) == (6, "prod shows it")
    gone = before - history.there()
    assert (len(gone), found.objects) == (found.objects, len(gone))
    assert found.bytes > 0
    assert {history.manifest(release) for release in (1, 2, 3)} <= gone
    history.prove(KEPT)
    again = history.collect()
    assert (again.objects, again.releases, again.oldest) == (0, 0, 4)


def test_who_asks_for_what_was_collected_is_told_what_there_is(history: History) -> None:
    history.collect()
    with transaction(history.engine) as conn:
        with pytest.raises(RefusedError, match="release 3 was collected; the oldest that can be had is 4"):
            refuse_collected(conn, history.store, 3)
        for release in (0, 4, 8):
            refuse_collected(conn, history.store, release)
        assert conn.execute(text("SELECT count(*) FROM ledger.releases")).scalar_one() == RELEASES


def test_without_a_base_no_release_goes(history: History) -> None:
    history.store.unlink(BASE, history.manifest(4))
    found = history.collect()
    assert (found.oldest, found.base, found.releases) == (1, False, 0)
    history.prove(range(1, RELEASES + 1))


@pytest.mark.parametrize(
    ("why", "stand"),
    [
        ("pos in prod holds it", lambda e: replace(e, members={"pos": member(6, 2)})),
        ("pos in prod holds it", lambda e: replace(e, members={"pos": member(2, None)})),
        ("a rollout of prod goes from it or to it", lambda e: replace(e, queue=(rollout(2),))),
        (
            "a rollout of prod goes from it or to it",
            lambda e: replace(e, active=rollout(7, from_release=2, state=RolloutState.STAGING)),
        ),
        ("prod shows it", lambda e: replace(e, shown=2)),
    ],
)
def test_what_an_environment_needs_is_kept(history: History, why: str, stand: object) -> None:
    history.base(1)
    history.base(2)
    history.age()
    history.stand(stand)  # type: ignore[arg-type]
    found = history.collect()
    assert found.needed is not None
    assert (found.needed.release, found.needed.why, found.oldest) == (2, why, 2)
    history.prove(range(2, RELEASES + 1))
    assert read_base(history.store, history.manifest(1)) is None


def test_a_member_that_was_not_heard_for_longer_than_anything_is_kept_loads_anew(history: History) -> None:
    long = history.settings.keep + timedelta(minutes=1)
    history.stand(lambda e: replace(e, members={"crm": member(6), "old": member(1, 1, heard=long)}))
    assert history.collect().oldest == 4


def test_what_was_shown_within_the_window_is_kept(history: History) -> None:
    history.base(2)
    history.age()
    ended = replace(rollout(6, from_release=2, state=RolloutState.ONLINE), ended_at=NOW - timedelta(days=400))
    history.stand(lambda e: replace(e, last=ended))
    history.stand(lambda e: replace(e, last=None))
    found = history.collect()
    assert found.needed is not None
    assert (found.needed.release, found.needed.why) == (2, "prod showed it before")


def test_what_a_verification_needs_is_kept(history: History) -> None:
    history.base(2)
    history.age()
    with transaction(history.engine) as conn:
        verifications.begin(conn, Verification("v", "prod", NOW - timedelta(minutes=1), "test", "", 3))
    found = history.collect()
    assert found.needed is not None
    assert (found.needed.release, found.needed.why, found.oldest) == (3, "prod is being verified against it", 2)


def test_the_release_since_which_rows_are_held_back_is_kept(history: History) -> None:
    history.base(2)
    history.age()
    row = HeldRow("prod", "prices", ("k", "1"), 3, "crm", "prices", "amount", "x", "it does not fit", NOW)
    with transaction(history.engine) as conn:
        quarantine.hold(conn, [row])
    found = history.collect()
    assert found.needed is not None
    assert (found.needed.release, found.needed.why, found.oldest) == (3, "rows of it are held back from prod", 2)


def test_repair_lists_and_what_they_name_are_kept(history: History) -> None:
    chunk = history.releases.store.put(b"rows of a repair")
    listed = Repair.model_validate(
        {
            "release": 6,
            "manifest": history.manifest(6),
            "chunks": [{"dataset": "prices", "sha256": chunk, "rows": 1, "bytes": 16}],
        }
    )
    wanted, unwanted = history.store.put(listed.model_dump_json().encode()), history.store.put(b"of nobody")
    history.age()
    repairing = replace(rollout(6, from_release=6), cause=Cause.REPAIR, repairs={"crm": wanted})
    history.stand(lambda e: replace(e, queue=(repairing,)))
    history.collect()
    assert {wanted, chunk} <= history.there()
    assert unwanted not in history.there()


def test_variants_of_kept_releases_are_kept_and_others_are_not(history: History) -> None:
    changed = state([("variant", "0", "k", None)])
    variants = {
        release: history.releases.variant(
            release, history.manifest(release), as_table(difference(history.states[release], changed)), changed.values()
        )
        for release in (2, 6)
    }
    newest = read_manifest(history.store, history.manifest(RELEASES))
    orphan = write_manifest(
        history.store,
        newest.model_copy(update={"release": 9, "parent_release": 8, "parent": history.manifest(8), "chunks": ()}),
    )
    history.age()
    history.collect()
    assert variants[6] in history.there()
    assert variants[2] not in history.there()
    assert orphan not in history.there()


def test_what_is_young_is_left_alone(history: History) -> None:
    sha256 = history.store.put(b"a chunk of a release that is being made")
    found = history.collect()
    assert found.young == 1
    assert sha256 in history.there()


def test_what_a_publisher_puts_again_meanwhile_is_left_alone(history: History) -> None:
    """The same chunk as in a release that goes: put again after the look at the store, before the deletion."""
    going = {history.manifest(release) for release in (1, 2, 3)}
    going |= {chunk.sha256 for sha256 in going for chunk in read_link(history.store, sha256).chunks}
    contents = [history.store.get(sha256) for sha256 in going]

    class Meanwhile(DirectoryStore):
        def link(self, kind: str, name: str, sha256: str) -> None:
            super().link(kind, name, sha256)
            for content in contents:
                history.store.put(content)

    found = history.collect(Meanwhile(history.store.path))
    assert found.objects == 0
    assert going <= history.there()


def test_a_release_that_is_published_meanwhile_is_kept(history: History) -> None:
    class Meanwhile(DirectoryStore):
        def link(self, kind: str, name: str, sha256: str) -> None:
            history.publish()
            super().link(kind, name, sha256)

    history.collect(Meanwhile(history.store.path))
    history.prove(range(4, RELEASES + 2))


def test_a_release_that_is_asked_for_meanwhile_ends_the_collection(history: History) -> None:
    before = history.there()

    def ask(said: str) -> None:
        if "proving" in said:
            history.stand(lambda e: replace(e, queue=(rollout(2),)))

    with pytest.raises(RefusedError, match="release 2 is needed since a moment ago"):
        collect(history.engine, history.store, history.settings, NOW, hear=ask)
    assert history.there() == before


def test_a_request_that_is_being_made_is_waited_for(history: History) -> None:
    before, raised = history.there(), list[BaseException]()

    def run() -> None:
        try:
            history.collect()
        except BaseException as error:
            raised.append(error)

    def waits() -> bool:
        with transaction(history.engine) as conn:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return bool(conn.execute(text(query)).scalar_one())

    collecting_thread = threading.Thread(target=run)
    with transaction(history.engine) as conn:
        asking_gate(conn)
        collecting_thread.start()
        wait_for(waits, what="the collection that waits")
        history.stand(lambda e: replace(e, queue=(rollout(3),)))
    collecting_thread.join(20)
    assert "release 3 is needed since a moment ago" in str(raised)
    assert history.there() == before


def test_two_collections_exclude_each_other(history: History) -> None:
    with collecting(history.engine) as mine:
        assert mine
        with pytest.raises(RefusedError, match="somebody else collects"):
            history.collect()
    assert history.collect().releases == 3


def test_killed_at_any_point_nothing_is_lost_that_is_needed(history: History) -> None:
    history.base(2)
    history.base(6)
    history.age()
    deaths = 0
    while True:
        try:
            history.collect(Mortal(history.store.path, deaths % 5))
        except Killed:
            deaths += 1
            history.prove(range(6, RELEASES + 1))
            with transaction(history.engine) as conn:
                for release in range(6, RELEASES + 1):
                    refuse_collected(conn, history.store, release)
        else:
            break
    assert deaths > 5
    assert history.collect().objects == 0
    history.prove(range(6, RELEASES + 1))


@pytest.mark.parametrize("lost", ["a chunk", "the base"])
def test_nothing_is_deleted_where_a_kept_release_could_not_be_had(history: History, lost: str) -> None:
    base = read_base(history.store, history.manifest(4))
    assert base is not None
    if lost == "a chunk":
        damaged = history.store.local_path(_chunk_of(history, 7))
        damaged.write_bytes(b"")
    else:
        history.collect()
        history.store.local_path(base.chunks[0].sha256).write_bytes(b"")
    before = history.there()
    history.age()
    with pytest.raises(StoreError, match="cannot be had from nothing"):
        history.collect()
    assert history.there() == before


def test_the_store_of_another_ledger_is_left_alone(history: History, database: Callable[[], str]) -> None:
    url = database()
    migrate.upgrade(url)
    before, stranger = history.there(), ledger_engine(url)
    with pytest.raises(RefusedError, match=f"does not know manifest {history.manifest(4)} of the store"):
        collect(stranger, history.store, history.settings, NOW)
    history.store.unlink(BASE, history.manifest(4))
    with pytest.raises(RefusedError, match="does not know any release, and the store is not empty"):
        collect(stranger, history.store, history.settings, NOW)
    assert history.there() == before
    stranger.dispose()


def test_a_ledger_that_knows_less_than_its_members_deletes_nothing(history: History) -> None:
    history.stand(lambda e: replace(e, blocked="members know of newer epochs"))
    with pytest.raises(RefusedError, match="prod is blocked"):
        history.collect()


def _chunk_of(history: History, release: int) -> str:
    return read_link(history.store, history.manifest(release)).chunks[0].sha256
