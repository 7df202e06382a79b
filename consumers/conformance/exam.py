"""The questions. Each starts from a fresh store and judges by what an independent reader sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from consumers.adapters.base import Adapter, Judges, Touched
from consumers.conformance.audits import AuditsConformance
from consumers.conformance.hands import certificate_of, fitting, flip, holding, load, looking, rows_of, second, watched
from consumers.conformance.proof import ProofConformance
from consumers.conformance.samples import (
    KEY_TABLE,
    PRICE_TABLE,
    SAMPLE_TABLE,
    TABLES,
    Row,
    batch,
    nasty_rows,
    numbered_rows,
)
from consumers.conformance.seat import Reader, Seat, Sight
from consumers.conformance.shapes import ShapesConformance
from distributor.errors import DistributorError, SystemAlteredError
from distributor.model.certificate import EMPTY_TABLE
from distributor.model.unfit import shortened
from distributor.rollout.member_row import MemberRow, Slot, other

ENVIRONMENT, SYSTEM = "prod", "crm"


class AdapterConformance(ProofConformance, ShapesConformance, AuditsConformance):
    """Subclass it, name the class `Test…`, and define the fixture `seat`."""

    @pytest.fixture
    def seat(self) -> Seat:
        """The author's."""
        raise NotImplementedError

    @pytest.fixture
    def adapter(self, seat: Seat) -> Iterator[Adapter]:
        adapter = seat.adapter()
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        yield adapter
        adapter.close()

    @pytest.fixture
    def reader(self, seat: Seat, adapter: Adapter) -> Iterator[Reader]:
        reader = seat.reader()
        yield reader
        reader.close()

    def test_preparing_again_changes_nothing(self, seat: Seat, adapter: Adapter, reader: Reader) -> None:
        rows = fitting(adapter, SAMPLE_TABLE, nasty_rows())
        load(adapter, "b", 1, batch(SAMPLE_TABLE, rows))
        flip(adapter)
        with second(seat) as other_adapter:
            other_adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
            with other_adapter.member() as member:
                assert (member.row.active, member.row.online.release) == ("b", 1)
        assert reader.look(SAMPLE_TABLE) == Sight(1, frozenset(rows))

    def test_tables_may_come_later(self, seat: Seat) -> None:
        with second(seat) as adapter:
            adapter.prepare(ENVIRONMENT, SYSTEM, ())
            with adapter.member() as member:
                assert (member.row.environment, member.row.system) == (ENVIRONMENT, SYSTEM)
            adapter.prepare(ENVIRONMENT, SYSTEM, (PRICE_TABLE,))
            load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(3, 1)))
            flip(adapter)
            adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
            with looking(seat) as reader:
                assert reader.look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(3, 1)))
                assert reader.look(SAMPLE_TABLE) == Sight(1, frozenset())

    def test_empty_slots_are_release_zero(self, adapter: Adapter, reader: Reader) -> None:
        with adapter.member() as member:
            assert member.row == MemberRow(environment=ENVIRONMENT, system=SYSTEM)
        assert all(adapter.audit(slot, table) == EMPTY_TABLE for slot in member.row.slots for table in TABLES)
        assert reader.look(SAMPLE_TABLE) == Sight(0, frozenset())

    def test_every_value_comes_back_as_it_was(self, adapter: Adapter, reader: Reader) -> None:
        rows = fitting(adapter, SAMPLE_TABLE, nasty_rows())
        (touched,) = load(adapter, "b", 1, batch(SAMPLE_TABLE, rows))
        flip(adapter)
        assert reader.look(SAMPLE_TABLE).rows == frozenset(rows)
        assert frozenset(rows_of(adapter, "b", SAMPLE_TABLE)) == frozenset(rows)
        assert touched == Touched(EMPTY_TABLE, certificate_of(SAMPLE_TABLE, rows))
        assert adapter.audit("b", SAMPLE_TABLE) == touched.after

    def test_what_a_store_cannot_hold_is_named(self, adapter: Adapter) -> None:
        rows = nasty_rows()
        if not isinstance(adapter, Judges):
            assert fitting(adapter, SAMPLE_TABLE, rows) == rows
            return
        told = adapter.unfit(batch(SAMPLE_TABLE, rows, rows))
        by_key = {row[:2]: dict(zip(SAMPLE_TABLE.schema.column_names, row, strict=True)) for row in rows}
        assert len({unfit.key for unfit in told}) == len(told) < len(rows) / 4
        for unfit in told:
            assert (unfit.table, unfit.dataset) == (SAMPLE_TABLE.name, SAMPLE_TABLE.schema.dataset)
            assert by_key[unfit.key][unfit.column] is not None
            assert unfit.value == shortened(by_key[unfit.key][unfit.column])
            assert unfit.why[:1].islower()

    def test_every_value_can_be_overwritten_and_deleted(self, adapter: Adapter) -> None:
        rows = fitting(adapter, SAMPLE_TABLE, nasty_rows())
        blank = [(row[0], row[1], *(None for _ in row[2:])) for row in rows]
        load(adapter, "b", 1, batch(SAMPLE_TABLE, rows))
        (emptied, filled, gone) = load(
            adapter, "b", 2, batch(SAMPLE_TABLE, blank), batch(SAMPLE_TABLE, rows), batch(SAMPLE_TABLE, (), rows)
        )
        full, empty = certificate_of(SAMPLE_TABLE, rows), certificate_of(SAMPLE_TABLE, blank)
        assert (emptied.before, emptied.after) == (full, empty)
        assert (filled.before, filled.after) == (empty, full)
        assert (gone.before, gone.after) == (full, EMPTY_TABLE)
        assert adapter.audit("b", SAMPLE_TABLE) == EMPTY_TABLE

    def test_a_batch_mixes_inserts_updates_and_deletes(self, adapter: Adapter, reader: Reader) -> None:
        old, new = numbered_rows(300, 1), numbered_rows(150, 2, start=200)
        load(adapter, "b", 1, batch(PRICE_TABLE, old))
        (touched,) = load(adapter, "b", 2, batch(PRICE_TABLE, new, old[:50]))
        assert touched.before == certificate_of(PRICE_TABLE, old[:50] + old[200:])
        assert touched.after == certificate_of(PRICE_TABLE, new)
        flip(adapter)
        assert reader.look(PRICE_TABLE) == Sight(2, frozenset(old[50:200] + new))

    def test_the_fold_equals_the_audit_and_an_independent_reading(self, adapter: Adapter, reader: Reader) -> None:
        pieces = [batch(PRICE_TABLE, numbered_rows(150, piece, start=100 * piece)) for piece in range(5)]
        pieces.append(batch(PRICE_TABLE, numbered_rows(10, 9), numbered_rows(120, 0, start=90)))
        folded = EMPTY_TABLE
        for touched in load(adapter, "b", 1, *pieces):
            folded = folded.minus(touched.before).plus(touched.after)
        flip(adapter)
        assert folded == adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, reader.look(PRICE_TABLE).rows)

    def test_a_table_of_nothing_but_its_key(self, adapter: Adapter) -> None:
        rows: list[Row] = [(f"00000000-0000-0000-0000-{number:012}",) for number in range(120)]
        load(adapter, "b", 1, batch(KEY_TABLE, rows[:100]))
        (touched,) = load(adapter, "b", 2, batch(KEY_TABLE, rows[50:], rows[:10]))
        assert touched.before == certificate_of(KEY_TABLE, rows[:10] + rows[50:100])
        assert adapter.audit("b", KEY_TABLE) == certificate_of(KEY_TABLE, rows[10:])

    def test_deleting_what_is_not_there_is_no_error(self, adapter: Adapter) -> None:
        (touched,) = load(adapter, "b", 1, batch(PRICE_TABLE, (), numbered_rows(3, 1)))
        assert touched == Touched(EMPTY_TABLE, EMPTY_TABLE)

    def test_applying_again_changes_nothing(self, adapter: Adapter) -> None:
        piece = batch(
            SAMPLE_TABLE,
            fitting(adapter, SAMPLE_TABLE, nasty_rows()),
            [("not there", "7", *(None for _ in SAMPLE_TABLE.schema.columns[2:]))],
        )
        first, again = load(adapter, "b", 1, piece, piece)
        (later,) = load(adapter, "b", 1, piece)
        assert first.after == again.before == again.after == later.before == later.after
        assert adapter.audit("b", SAMPLE_TABLE) == first.after

    def test_a_cleared_table_is_filled_anew(self, adapter: Adapter) -> None:
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(200, 1)))
        new = numbered_rows(150, 2, start=100)
        with adapter.loading("b") as loading:
            loading.clear(PRICE_TABLE)
            touched = [loading.apply(batch(PRICE_TABLE, part)) for part in (new[:100], new[50:])]
            loading.commit(lambda row: holding(row, "b", 2))
        assert [piece.before for piece in touched] == [EMPTY_TABLE, certificate_of(PRICE_TABLE, new[50:100])]
        assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, new)

    def test_nothing_is_seen_before_the_flip_and_all_of_it_after(self, adapter: Adapter, reader: Reader) -> None:
        with adapter.loading("b") as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(100, 1)))
            assert reader.look(PRICE_TABLE) == Sight(0, frozenset())
            loading.commit(lambda row: holding(row, "b", 1))
        assert reader.look(PRICE_TABLE) == Sight(0, frozenset())
        flip(adapter)
        assert reader.look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(100, 1)))
        flip(adapter)
        assert reader.look(PRICE_TABLE) == Sight(0, frozenset())

    def test_a_flip_that_is_not_committed_is_none(self, adapter: Adapter, reader: Reader) -> None:
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
        with pytest.raises(ZeroDivisionError), adapter.member() as member:  # noqa: PT012
            member.save(member.row.model_copy(update={"active": "b"}))
            raise ZeroDivisionError
        assert reader.look(PRICE_TABLE) == Sight(0, frozenset())
        with adapter.member() as member:
            assert member.row.active == "a"

    def test_leaving_a_load_leaves_no_trace(self, adapter: Adapter) -> None:
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(50, 1)))
        with pytest.raises(ZeroDivisionError), adapter.loading("b") as loading:  # noqa: PT012
            loading.clear(PRICE_TABLE)
            loading.apply(batch(PRICE_TABLE, numbered_rows(100, 2)))
            raise ZeroDivisionError
        assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(50, 1))

    def test_a_guard_that_says_no_rolls_everything_back(self, adapter: Adapter) -> None:
        with adapter.loading("b") as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(100, 1)))
            assert loading.commit(lambda row: None) is None
        assert adapter.audit("b", PRICE_TABLE) == EMPTY_TABLE
        with adapter.member() as member:
            assert member.row.slots["b"] == Slot()

    def test_of_two_loads_the_one_that_lost_its_token_commits_nothing(self, seat: Seat, adapter: Adapter) -> None:
        with adapter.member() as member:
            member.save(holding(member.row, "b", 0, token="mine"))  # noqa: S106
        with second(seat) as newer:
            with newer.member() as member:
                member.save(holding(member.row, "b", 0, token="theirs"))  # noqa: S106
            load(newer, "b", 2, batch(PRICE_TABLE, numbered_rows(60, 2)))
        with adapter.loading("b") as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(100, 1)))
            assert loading.commit(lambda row: row if row.slots["b"].token == "mine" else None) is None  # noqa: S105
        assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, numbered_rows(60, 2))

    def test_a_process_that_dies_between_batches_leaves_its_readers_alone(
        self, seat: Seat, adapter: Adapter, reader: Reader
    ) -> None:
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(10, 1)))
        flip(adapter)
        dying = seat.adapter()
        with suppress(DistributorError), dying.loading("a") as loading:
            loading.apply(batch(PRICE_TABLE, numbered_rows(100, 2)))
            dying.close()
        assert reader.look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(10, 1)))
        (touched,) = load(adapter, "a", 2, batch(PRICE_TABLE, numbered_rows(100, 2)))
        assert touched.before == EMPTY_TABLE

    def test_a_reader_never_sees_two_releases(self, seat: Seat, adapter: Adapter) -> None:
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(100, 1)))
        flip(adapter)
        with watched(seat) as sights:
            for release in range(2, 40):
                with adapter.member() as member:
                    shadow = other(member.row.active)
                load(adapter, shadow, release, batch(PRICE_TABLE, numbered_rows(100, release)))
                flip(adapter)
            sights.enough()
        assert len({sight.release for sight in sights.seen}) > 1
        for sight in sights.seen:
            assert sight.rows == frozenset(numbered_rows(100, sight.release))

    @pytest.mark.parametrize("lost", ["list_prices", "distributor_release"])
    def test_what_readers_look_at_comes_back_when_it_was_lost(self, seat: Seat, adapter: Adapter, lost: str) -> None:
        load(adapter, "b", 1, batch(PRICE_TABLE, numbered_rows(5, 1)))
        flip(adapter)
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        seat.lose(lost)
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        with looking(seat) as reader:
            assert reader.look(PRICE_TABLE) == Sight(1, frozenset(numbered_rows(5, 1)))

    def test_what_took_the_place_of_a_readers_view_is_named(self, seat: Seat, adapter: Adapter) -> None:
        adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        seat.lose("list_prices")
        seat.occupy("list_prices")
        with pytest.raises(SystemAlteredError, match="list_prices"):
            adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
        assert seat.occupied("list_prices") == 1

    def test_an_altered_table_is_named(self, seat: Seat, adapter: Adapter) -> None:
        seat.drop_column(SAMPLE_TABLE, "ratio")
        with pytest.raises(SystemAlteredError, match=r"all types.*ratio"), adapter.loading("b") as loading:
            loading.apply(batch(SAMPLE_TABLE, fitting(adapter, SAMPLE_TABLE, nasty_rows())))
        with second(seat) as later, pytest.raises(SystemAlteredError, match=r"all types.*ratio"):
            later.prepare(ENVIRONMENT, SYSTEM, TABLES)

    def test_a_table_of_the_users_is_not_touched(self, seat: Seat) -> None:
        seat.occupy("list_prices")
        with second(seat) as adapter:
            with pytest.raises(SystemAlteredError, match="list_prices"):
                adapter.prepare(ENVIRONMENT, SYSTEM, TABLES)
            assert seat.occupied("list_prices") == 1
            with pytest.raises(DistributorError), adapter.member():
                pass

    @pytest.mark.parametrize("owner", [("uat", SYSTEM), (ENVIRONMENT, "pos")])
    def test_another_members_store_is_refused(self, seat: Seat, adapter: Adapter, owner: tuple[str, str]) -> None:
        with second(seat) as stranger, pytest.raises(DistributorError, match=f"{SYSTEM} in {ENVIRONMENT}") as refused:
            stranger.prepare(*owner, TABLES)
        assert not refused.value.retryable
