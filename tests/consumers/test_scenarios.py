"""What a member does with commands, seen from outside: a real process, broker and store."""

from __future__ import annotations

import pytest

from distributor.rollout.events import RefusalReason
from distributor.wire.messages import (
    FlippedReport,
    HelloReport,
    ProgressReport,
    RefusedReport,
    RevertedReport,
    SettledReport,
    StagedReport,
)
from tests.consumers.catalogue import Catalogue, prices, products
from tests.consumers.estate import MAPPING, Coordinator, Member, certified
from tests.support import wait_for

RENAMED = products(10, name="Hocker")


def publish_three(catalogue: Catalogue) -> None:
    """Release 1: 40 products; 2: ten renamed and five gone; 3: five new, prices changed, one renamed back."""
    catalogue.publish(products=products(40), prices=prices(40))
    catalogue.publish(products=RENAMED | products(25, start=10))
    back = products(1)
    kept = {row for row in catalogue.contents[-1]["products"] if row[0] != "P000000"}
    catalogue.publish(products=kept | back | products(5, start=60), prices=prices(20))


def staged(coordinator: Coordinator, epoch: int, release: int, **more: object) -> StagedReport:
    """Sends a stage and gives the answer, whose certificate must be the expected one."""
    coordinator.send(coordinator.stage(epoch, release, **more))  # type: ignore[arg-type]
    report = coordinator.expect(StagedReport, lambda r: r.epoch == epoch)
    expected = certified(coordinator.catalogue.manifest(release))
    assert (report.release, report.certificate) == (release, expected.digest)
    assert report.mapping == MAPPING.version
    assert report.tables == {name: table.total for name, table in expected.tables.items()}
    return report


def online(coordinator: Coordinator, epoch: int, release: int, **more: object) -> FlippedReport:
    """Stages and flips."""
    staged(coordinator, epoch, release, **more)
    coordinator.send(coordinator.flip(epoch, release))
    return coordinator.expect(FlippedReport, lambda r: r.epoch == epoch)


def test_from_nothing_through_deltas_and_a_chain_to_readers(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    hello = coordinator.expect(HelloReport)
    assert (hello.shows, hello.shadow, hello.floor, hello.mapping) == (0, 0, 0, MAPPING.version)

    first = staged(coordinator, 1, 1)
    assert first.rows_applied == 40 + 80
    assert (first.shows, first.shadow) == (0, 1)
    assert first.command_sent_at is not None
    assert first.command_received_at is not None
    assert first.command_sent_at <= first.command_received_at <= first.reported_at
    coordinator.send(coordinator.flip(1, 1))
    flipped = coordinator.expect(FlippedReport)
    assert (flipped.shows, flipped.release) == (1, 1)
    assert (member.shows(), member.content()) == (1, catalogue.contents[1])

    # The other slot is still empty: it takes all three releases as one.
    online(coordinator, 2, 3, from_release=1)
    assert (member.shows(), member.content()) == (3, catalogue.contents[3])

    # And back, by the reverse of what the slot with release 1 lacks: nothing, it is there.
    there = staged(coordinator, 3, 1, from_release=3)
    assert there.rows_applied == 0
    assert member.stop() == 0


def test_a_delta_of_one_row_touches_one_row(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    catalogue.publish(products=catalogue.contents[3]["products"] | products(1, start=900))
    member.start()
    online(coordinator, 1, 3)
    coordinator.send(coordinator.settle(2, 3))
    coordinator.expect(SettledReport)
    assert staged(coordinator, 3, 4, from_release=3).rows_applied == 1
    coordinator.send(coordinator.flip(3, 4))
    coordinator.expect(FlippedReport)
    assert (member.shows(), member.content()) == (4, catalogue.contents[4])


def test_a_view_that_is_dropped_by_hand_comes_back_with_the_next_stage_or_start(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    member.lose_view("items")
    # Nothing to load, nothing to flip: what is online is what is asked for.
    staged(coordinator, 2, 1, from_release=1)
    assert member.content() == catalogue.contents[1]
    assert member.stop() == 0
    member.lose_view("items")
    member.start()
    coordinator.expect(HelloReport)
    assert member.content() == catalogue.contents[1]


def test_settling_brings_the_old_slot_up_so_that_the_next_stage_is_one_delta(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    online(coordinator, 2, 2, from_release=1)
    coordinator.send(coordinator.settle(3, 2))
    settled = coordinator.expect(SettledReport)
    assert (settled.shows, settled.shadow) == (2, 2)
    assert member.content() == catalogue.contents[2]
    report = staged(coordinator, 4, 3, from_release=2)
    changes = catalogue.manifest(3).counts
    assert report.rows_applied == sum(count.total for count in changes.values())
    coordinator.send(coordinator.flip(4, 3))
    coordinator.expect(FlippedReport)
    assert member.content() == catalogue.contents[3]


def test_back_by_the_reverse_of_a_chain(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 3)
    coordinator.send(coordinator.settle(2, 3))
    coordinator.expect(SettledReport)
    online(coordinator, 3, 2, from_release=3)
    assert (member.shows(), member.content()) == (2, catalogue.contents[2])


def test_a_flip_waits_for_its_time(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    staged(coordinator, 1, 1)
    command = coordinator.flip(1, 1, after=1.2)
    coordinator.send(command)
    flipped = coordinator.expect(FlippedReport)
    assert flipped.flipped_at >= command.at
    assert member.shows() == 1


def test_stage_duplicate_after_staged_does_not_reload(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    command = coordinator.stage(1, 1)
    id = coordinator.send(command)
    assert coordinator.expect(StagedReport).rows_applied == 120
    for repeated in (id, None):
        coordinator.send(command, id=repeated)
        again = coordinator.expect(StagedReport)
        assert again.rows_applied == 0
        assert again.certificate == certified(catalogue.manifest(1)).digest


def test_stage_duplicate_after_flip_keeps_previous_release(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    online(coordinator, 2, 2, from_release=1)
    coordinator.send(coordinator.stage(2, 2, from_release=1))
    again = coordinator.expect(FlippedReport)
    assert (again.shows, again.shadow) == (2, 1)
    coordinator.send(coordinator.revert(3, of=2))
    assert coordinator.expect(RevertedReport).shows == 1
    assert (member.shows(), member.content()) == (1, catalogue.contents[1])


def test_flip_twice_is_flip_once(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    first = online(coordinator, 2, 2, from_release=1)
    coordinator.send(coordinator.flip(2, 2))
    second = coordinator.expect(FlippedReport)
    assert (second.flipped_at, second.shows) == (first.flipped_at, 2)
    assert (member.shows(), member.content()) == (2, catalogue.contents[2])


def test_late_flip_after_revert(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    staged(coordinator, 2, 2, from_release=1)
    coordinator.send(coordinator.revert(3, of=2))
    reverted = coordinator.expect(RevertedReport)
    assert (reverted.shows, reverted.of) == (1, 2)
    coordinator.send(coordinator.flip(2, 2))
    refused = coordinator.expect(RefusedReport)
    assert (refused.reason, refused.epoch, refused.floor) == (RefusalReason.STALE, 2, 3)
    assert (member.shows(), member.content()) == (1, catalogue.contents[1])
    headers, _ = coordinator.dead_letter()
    assert str(headers["x-reason"]).startswith("stale epoch 2")
    assert headers["x-origin"] == "pd.member.prod.crm"


def test_what_is_late_in_ordinary_operation_is_no_dead_letter(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    online(coordinator, 1, 1)
    staged(coordinator, 2, 1, from_release=1)
    # Sent again after its answer was lost, while the next epoch began.
    coordinator.send(coordinator.flip(1, 1))
    assert coordinator.expect(RefusedReport).reason is RefusalReason.STALE
    # Armed, and overtaken by a newer epoch.
    coordinator.send(coordinator.flip(2, 1, after=60, within=120))
    staged(coordinator, 3, 2, from_release=1)
    assert coordinator.expect(RefusedReport, lambda r: r.epoch == 2).reason is RefusalReason.STALE
    # What nobody here knows is one, and the first: answers are sent after their dead letter.
    coordinator.send(coordinator.flip(1, 1).model_copy(update={"rollout_id": "of another ledger"}))
    coordinator.expect(RefusedReport, lambda r: r.rollout_id == "of another ledger")
    _, body = coordinator.dead_letter()
    assert b"of another ledger" in body


def test_armed_timer_meets_revert(member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    publish_three(catalogue)
    member.start()
    online(coordinator, 1, 1)
    staged(coordinator, 2, 2, from_release=1)
    coordinator.send(coordinator.flip(2, 2, after=1.5))
    coordinator.send(coordinator.revert(3, of=2))
    assert coordinator.expect(RevertedReport).shows == 1
    assert coordinator.expect(RefusedReport).reason is RefusalReason.STALE
    assert member.shows() == 1


def test_an_abandoned_epoch_is_closed_and_its_data_stays(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    member.start()
    staged(coordinator, 1, 1)
    coordinator.send(coordinator.abandon(1))
    coordinator.send(coordinator.flip(1, 1))
    assert coordinator.expect(RefusedReport).reason is RefusalReason.STALE
    assert staged(coordinator, 2, 1).rows_applied == 0


def test_the_same_epoch_under_another_name_is_a_conflict(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    staged(coordinator, 1, 1)
    coordinator.send(coordinator.flip(1, 1).model_copy(update={"rollout_id": "another"}))
    refused = coordinator.expect(RefusedReport)
    assert (refused.reason, refused.rollout_id) == (RefusalReason.CONFLICT, "another")


def test_a_flip_of_what_is_not_staged_is_refused(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    coordinator.send(coordinator.flip(1, 1))
    assert coordinator.expect(RefusedReport).reason is RefusalReason.NOT_STAGED


def test_a_flip_after_its_time_asks_instead(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    coordinator.expect(HelloReport)
    staged(coordinator, 1, 1)
    coordinator.send(coordinator.flip(1, 1, after=-30, within=1))
    hello = coordinator.expect(HelloReport)
    assert (hello.shows, hello.shadow, hello.floor) == (0, 1, 1)
    assert sqlite_member.shows() == 0


def test_what_is_no_command_to_this_member_goes_to_the_dead_letters(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    coordinator.send_raw({"ce-id": "1"}, b"no json")
    headers, body = coordinator.dead_letter()
    assert (body, headers["x-origin"]) == (b"no json", "pd.member.prod.crm")
    assert "ce-source" in str(headers["x-reason"])
    coordinator.send(coordinator.stage(1, 1).model_copy(update={"system": "pos"}))
    headers, _ = coordinator.dead_letter()
    assert "prod.pos" in str(headers["x-reason"])
    staged(coordinator, 1, 1)


def test_a_damaged_chunk_is_refused_until_it_is_mended(
    member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    path = catalogue.chunk_path(1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    member.start()
    coordinator.send(coordinator.stage(1, 1))
    refused = coordinator.expect(RefusedReport)
    assert refused.reason is RefusalReason.RETRYABLE
    assert path.parent.name in refused.text
    path.write_bytes(whole)
    assert staged(coordinator, 1, 1).rows_applied == 120


def test_a_member_whose_database_is_away_says_so(
    coordinator: Coordinator, catalogue: Catalogue, sqlite_member: Member
) -> None:
    publish_three(catalogue)
    text = sqlite_member.config.read_text()
    sqlite_member.config.write_text(
        text.replace('adapter = "sqlite"', 'adapter = "postgresql"').replace(
            sqlite_member.url, "postgresql://nobody:nothing@127.0.0.1:9/none"
        )
    )
    sqlite_member.start()
    coordinator.send(coordinator.stage(1, 1))
    refused = coordinator.expect(RefusedReport)
    assert refused.reason is RefusalReason.RETRYABLE
    assert sqlite_member.stop() == 0


def test_a_missing_dataset_is_refused_for_good(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    catalogue.schemas = catalogue.schemas[:1]
    catalogue.publish(products=products(3))
    sqlite_member.start()
    coordinator.send(coordinator.stage(1, 1))
    refused = coordinator.expect(RefusedReport)
    assert refused.reason is RefusalReason.PERMANENT
    assert "prices" in refused.text


def test_a_newer_epoch_cuts_a_load(sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue) -> None:
    catalogue.publish(products=products(40_000), prices=prices(20_000))
    catalogue.publish(products=products(7), prices=prices(3))
    sqlite_member.start()
    coordinator.send(coordinator.stage(1, 1))
    coordinator.expect(ProgressReport)
    coordinator.send(coordinator.abandon(1))
    coordinator.send(coordinator.stage(2, 2))
    report = coordinator.expect(StagedReport)
    assert (report.epoch, report.release) == (2, 2)
    coordinator.send(coordinator.flip(2, 2))
    coordinator.expect(FlippedReport)
    assert sqlite_member.content() == catalogue.contents[2]


def test_answers_carry_the_trace_of_their_command(
    sqlite_member: Member, coordinator: Coordinator, catalogue: Catalogue
) -> None:
    publish_three(catalogue)
    sqlite_member.start()
    coordinator.expect(HelloReport)
    coordinator.traceparents.clear()
    coordinator.send(coordinator.stage(1, 1), traceparent="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")
    coordinator.expect(StagedReport)
    (traceparent,) = coordinator.traceparents
    assert traceparent is not None
    assert "ab" * 16 in traceparent


@pytest.mark.parametrize("adapter_name", ["oracle"])
def test_an_unknown_adapter_names_the_known_ones(sqlite_member: Member, adapter_name: str) -> None:
    text = sqlite_member.config.read_text()
    sqlite_member.config.write_text(text.replace('adapter = "sqlite"', f'adapter = "{adapter_name}"'))
    sqlite_member.start()
    assert sqlite_member.died() == 1
    log = wait_for(sqlite_member.log.read_text)
    assert "oracle" in log
    assert "files, mariadb, parquet, postgresql, redis, sqlite" in log
