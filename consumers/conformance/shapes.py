"""Questions about tables that change their shape: each slot has its own, and readers go from one to the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from consumers.adapters.base import Adapter, Inspects, TableSpec
from consumers.conformance.hands import certificate_of, flip, holding, looking, rows_of, second
from consumers.conformance.samples import KEY_TABLE, PRICE_TABLE, SAMPLE_TABLE, Row, batch, numbered_rows
from consumers.conformance.seat import Reader, Seat, Sight
from distributor.errors import SystemAlteredError
from distributor.model.dataset import Column, DatasetSchema, Index
from distributor.model.types import LogicalType
from distributor.rollout.member_row import SlotName, other

ENVIRONMENT, SYSTEM = "prod", "crm"
_TEXTS = {"note": "a note", "amount": "1.5", "number": "7"}


def _shape(*columns: tuple[str, str], key: tuple[str, ...] = ("sku",), index: str = "") -> TableSpec:
    schema = DatasetSchema(
        dataset="prices",
        columns=tuple(Column(name=n, type=LogicalType.parse(type_), nullable=n not in key) for n, type_ in columns),
        key=key,
        indexes=(Index(columns=(index,)),) if index else (),
    )
    return TableSpec(PRICE_TABLE.mapping, schema)


SHAPES = {
    "a column more": _shape(("sku", "text"), ("release", "integer"), ("note", "text"), index="note"),
    "a column less": _shape(("sku", "text")),
    "another name": _shape(("sku", "text"), ("number", "integer")),
    "another type": _shape(("sku", "text"), ("release", "text")),
    "another order": _shape(("amount", "decimal(12,2)"), ("release", "integer"), ("sku", "text")),
    "another key": _shape(("sku", "text"), ("release", "integer"), key=("sku", "release")),
}
WIDER = SHAPES["a column more"]


def shaped_rows(table: TableSpec, count: int, release: int) -> list[Row]:
    """`numbered_rows` in another shape."""
    given = ({"sku": sku, "release": number, **_TEXTS} for sku, number in numbered_rows(count, release))
    return [tuple(row[name] for name in table.schema.column_names) for row in given]


class ShapesConformance:
    """Part of the exam."""

    @pytest.mark.parametrize("change", SHAPES)
    def test_a_table_of_another_shape_is_seen_at_the_flip_and_gone_at_the_way_back(
        self, seat: Seat, adapter: Adapter, reader: Reader, change: str
    ) -> None:
        changed = SHAPES[change]
        old, new = numbered_rows(100, 1), shaped_rows(changed, 80, 2)
        before, after = Sight(1, frozenset(old)), Sight(2, frozenset(new))
        _reload(adapter, "b", 1, PRICE_TABLE, old)
        flip(adapter)
        _prepare(adapter, changed)
        assert reader.look(PRICE_TABLE) == before
        _reload(adapter, "a", 2, changed, new)
        assert reader.look(PRICE_TABLE) == before
        assert adapter.audit("b", PRICE_TABLE) == certificate_of(PRICE_TABLE, old)
        assert adapter.audit("a", changed) == certificate_of(changed, new)
        for _ in range(2):
            flip(adapter)
            assert _looked(seat, changed) == after
            flip(adapter)
            assert _looked(seat, PRICE_TABLE) == before

    def test_a_table_of_another_shape_is_its_slots_alone(self, seat: Seat, adapter: Adapter) -> None:
        """A process that starts anew, and one that comes with the former shape again, leave both slots as they are."""
        old, new = numbered_rows(30, 1), shaped_rows(WIDER, 40, 2)
        _reload(adapter, "b", 1, PRICE_TABLE, old)
        flip(adapter)
        _prepare(adapter, WIDER)
        _reload(adapter, "a", 2, WIDER, new)
        flip(adapter)
        for shape in (WIDER, PRICE_TABLE):
            with second(seat) as later:
                _prepare(later, shape)
                assert frozenset(rows_of(later, "b", PRICE_TABLE)) == frozenset(old)
                assert frozenset(rows_of(later, "a", WIDER)) == frozenset(new)
                assert _looked(seat, WIDER) == Sight(2, frozenset(new))

    def test_both_slots_come_to_another_shape_and_deltas_go_on(self, seat: Seat, adapter: Adapter) -> None:
        _reload(adapter, "b", 1, PRICE_TABLE, numbered_rows(30, 1))
        flip(adapter)
        for release in range(2, 6):
            with adapter.member() as member:
                shadow = other(member.row.active)
            _prepare(adapter, WIDER)
            rows = shaped_rows(WIDER, 30 + release, release)
            if release < 4:
                _reload(adapter, shadow, release, WIDER, rows)
            else:
                with adapter.loading(shadow) as loading:
                    touched = loading.apply(batch(WIDER, rows))
                    assert touched.before == certificate_of(WIDER, shaped_rows(WIDER, 28 + release, release - 2))
                    loading.commit(partial(holding, slot=shadow, release=release))
            flip(adapter)
            assert _looked(seat, WIDER) == Sight(release, frozenset(rows))
        _prepare(adapter, WIDER)
        assert _looked(seat, WIDER) == Sight(5, frozenset(rows))
        if isinstance(adapter, Inspects):
            assert list(adapter.inspect([(WIDER.mapping, WIDER.schema)])) == []

    def test_a_table_of_another_shape_is_left_alone_by_a_load_that_is_left(self, adapter: Adapter) -> None:
        kept = numbered_rows(20, 1)
        _reload(adapter, "b", 1, PRICE_TABLE, kept)
        _prepare(adapter, WIDER)
        with pytest.raises(ZeroDivisionError), adapter.loading("b") as loading:  # noqa: PT012
            loading.clear(WIDER)
            loading.apply(batch(WIDER, shaped_rows(WIDER, 50, 2)))
            raise ZeroDivisionError
        assert frozenset(rows_of(adapter, "b", PRICE_TABLE)) == frozenset(kept)
        _reload(adapter, "b", 2, WIDER, shaped_rows(WIDER, 50, 2))
        assert adapter.audit("b", WIDER) == certificate_of(WIDER, shaped_rows(WIDER, 50, 2))

    def test_a_table_of_another_shape_takes_nothing_before_it_is_cleared(self, adapter: Adapter) -> None:
        _reload(adapter, "b", 1, PRICE_TABLE, numbered_rows(20, 1))
        _prepare(adapter, WIDER)
        with pytest.raises(SystemAlteredError), adapter.loading("b") as loading:
            loading.apply(batch(WIDER, shaped_rows(WIDER, 5, 2)))
        assert frozenset(rows_of(adapter, "b", PRICE_TABLE)) == frozenset(numbered_rows(20, 1))

    def test_a_reader_sees_no_mix_while_shapes_change(self, seat: Seat, adapter: Adapter) -> None:
        """It may fail in the moment of a flip, and looks again: what it does see is one release."""
        _reload(adapter, "b", 1, PRICE_TABLE, numbered_rows(100, 1))
        flip(adapter)
        with _patiently_watched(seat) as sights:
            for release in range(2, 12):
                with adapter.member() as member:
                    shadow = other(member.row.active)
                shape = WIDER if release % 3 else PRICE_TABLE
                _prepare(adapter, shape)
                _reload(adapter, shadow, release, shape, shaped_rows(shape, 100, release))
                flip(adapter)
        assert len({sight.release for sight in sights}) > 1
        for sight in sights:
            assert sight.rows == frozenset(numbered_rows(100, sight.release))


def _prepare(adapter: Adapter, shape: TableSpec) -> None:
    adapter.prepare(ENVIRONMENT, SYSTEM, (SAMPLE_TABLE, shape, KEY_TABLE))


def _reload(adapter: Adapter, slot: SlotName, release: int, table: TableSpec, rows: list[Row]) -> None:
    with adapter.loading(slot) as loading:
        loading.clear(table)
        touched = loading.apply(batch(table, rows))
        assert touched.after == certificate_of(table, rows)
        assert loading.commit(lambda row: holding(row, slot, release)) is not None


def _looked(seat: Seat, table: TableSpec) -> Sight:
    """By a reader that has looked at nothing before."""
    with looking(seat) as reader:
        return reader.look(table)


@contextmanager
def _patiently_watched(seat: Seat) -> Iterator[list[Sight]]:
    """A reader in a thread of its own that begins anew whenever it fails; twice in a row is once too often."""
    sights: list[Sight] = []
    failures: list[Exception] = []
    stopped, begun = threading.Event(), threading.Event()

    def watch() -> None:
        reader, failed = seat.reader(), 0
        while not stopped.is_set() and failed < 3:
            try:
                sights.append(reader.look(PRICE_TABLE))
                failed = 0
            except Exception as error:  # noqa: BLE001 - each store has its own
                failed += 1
                failures.append(error)
                with suppress(Exception):
                    reader.close()
                reader = seat.reader()
            begun.set()
        reader.close()
        if failed >= 3:
            failures.append(AssertionError("a reader failed again and again"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert begun.wait(20)
        yield sights
    finally:
        stopped.set()
        thread.join()
    assert not any(isinstance(failure, AssertionError) for failure in failures), failures
