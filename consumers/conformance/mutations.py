"""The proof's table, two releases of it, and everything that is done to the second one.

Row i of the second release has the i-th value of every column, so that few rows hold all of them. Of three rows one is
new in it, one differs from the first release in every column and one only in `note`; others are deleted or untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from consumers.adapters.base import TableSpec
from consumers.conformance.alterations import ALTERED, KEYS, SPELLED, Damage
from consumers.conformance.by_the_page import bucket_of
from consumers.conformance.edits import Drop, Edit, Odd, Oddity, Put
from consumers.conformance.samples import Row
from distributor.mapping.tables import TableMapping
from distributor.model.dataset import Column, DatasetSchema
from distributor.model.types import LogicalType

_GUID = "0b9d5f3c-2f6e-4f7a-8d57-00000000000"
# Column, type, and its value in rows that have no other; in the first release; in a third one.
_COLUMNS: tuple[tuple[str, str, str | None, str | None, str | None], ...] = (
    ("code", "text", None, None, None),
    ("number", "integer", None, None, None),
    ("title", "text", "Chair", "Stool", "Bench"),
    ("note", "text", "second", "first", "third"),
    ("amount", "integer", "5", "4", "6"),
    ("flag", "boolean", "true", "false", None),
    ("price", "decimal(12,2)", "7.5", "7.25", "8"),
    ("small", "decimal(15,15)", "0.25", "0.5", "0.75"),
    ("exact", "decimal", "2.5", "2.25", "2.125"),
    ("ratio", "double", "0.5", "0.25", "0.75"),
    ("day", "date", "2026-05-02", "2026-05-01", "2026-05-03"),
    ("clock", "time", "10:00:02", "10:00:01", "10:00:03"),
    ("moment", "timestamp", "2026-05-02 10:00:00", "2026-05-01 10:00:00", "2026-05-03 10:00:00"),
    ("instant", "timestamptz", "2026-05-02 10:00:00+00", "2026-05-01 10:00:00+00", "2026-05-03 10:00:00+00"),
    ("guid", "uuid", f"{_GUID}2", f"{_GUID}1", f"{_GUID}3"),
    ("raw", "bytes", "\\x02", "\\x01", "\\x03"),
    ("document", "json", '{"release": 2}', '{"release": 1}', '{"release": 3}'),
)
PROOF = DatasetSchema(
    dataset="proof",
    columns=tuple(
        Column(name=name, type=LogicalType.parse(type_), nullable=name not in ("code", "number"))
        for name, type_, *_ in _COLUMNS
    ),
    key=("code", "number"),
)
PROOF_TABLE = TableSpec(TableMapping(dataset="proof", into="proof"), PROOF)
_TYPES = {name: type_ for name, type_, *_ in _COLUMNS}
_SECOND, _FIRST, _THIRD = ({column[0]: column[place] for column in _COLUMNS[2:]} for place in (2, 3, 4))

Rows = Mapping[Row, Row]
Takes = Callable[[str, str | None], bool]
"""Whether a store can hold a text in a column of PROOF."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One thing that happens to stored rows. `type` is a logical type, `key` or `row`."""

    damage: Damage
    type: str
    edits: tuple[Edit, ...]
    what: str = ""

    @property
    def plain(self) -> bool:
        """Whether the rows are known by their canonical texts afterwards."""
        return self.damage is not Damage.SPELLED and not any(isinstance(edit, Odd) for edit in self.edits)

    def done_to(self, rows: Rows) -> dict[Row, Row]:
        """Rows by key, with the edits; an `Odd` leaves its row as it is."""
        after = dict(rows)
        for edit in self.edits:
            match edit:
                case Put(row):
                    after[row[:2]] = row
                case Drop(key):
                    after.pop(key, None)
                case Odd():
                    pass
        return after


class Script:
    """Both releases, by key, and the mutations of the second one. Values that a store cannot hold do not occur."""

    def __init__(self, oddities: Sequence[Oddity] = (), takes: Takes = lambda _column, _value: True) -> None:
        self._takes = takes
        oddities = [odd for odd in oddities if takes(odd.column, odd.was)]
        values = self._values(oddities)
        keys = [move for move in KEYS if takes("code", move[1]) and takes("code", move[2])]
        self.first: dict[Row, Row] = {}
        self.second: dict[Row, Row] = {}
        self.places: dict[tuple[str, str | None], Row] = {}
        for number in range(max(map(len, values.values()))):
            own = {name: texts[number] for name, texts in values.items() if number < len(texts)}
            row = self._second("row", number, own)
            self.places.update(dict.fromkeys(own.items(), row))
            if number % 3:
                old = _FIRST if number % 3 == 1 else {**_named(row), "note": "first"}
                self.first[row[:2]] = _row("row", number, old)
        for code, number in (*((code, 7) for code in dict.fromkeys(code for _, code, _ in keys)), ("K", 11)):
            self._second(code, number)
        for number in range(6):
            self.first["gone", str(number)] = _row("gone", number, _FIRST)
            kept = self._second("kept", number, {"note": "first"})
            self.first[kept[:2]] = kept
        self.deleted = [row for key, row in self.first.items() if key not in self.second]
        self.written = [row for key, row in self.second.items() if self.first.get(key) != row]
        self.kept = [row for key, row in self.second.items() if self.first.get(key) == row]
        self.touched = {row[:2] for row in (*self.written, *self.deleted)}
        self.mutations = [*self._cells(oddities), *self._columns(), *self._keys(keys), *self._rows(), *self._many()]

    def _values(self, oddities: Sequence[Oddity]) -> dict[str, list[str | None]]:
        """Column → everything that is to be altered in it."""
        found = {column: [was for _, was, _ in changes] for column, changes in ALTERED.items()}
        for column, spellings in SPELLED.items():
            found[column] += [was for _, was, _ in spellings]
        for odd in oddities:
            found[odd.column].append(odd.was)
        return {
            column: [text for text in dict.fromkeys(texts) if self._takes(column, text)]
            for column, texts in found.items()
        }

    def _second(self, code: str, number: int, own: Mapping[str, str | None] | None = None) -> Row:
        row = _row(code, number, {**_SECOND, **(own or {})})
        self.second[row[:2]] = row
        return row

    def _cells(self, oddities: Sequence[Oddity]) -> Iterator[Mutation]:
        for column, changes in ALTERED.items():
            for damage, was, became in changes:
                if not (self._takes(column, was) and self._takes(column, became)):
                    continue
                row = self.places[column, was]
                yield Mutation(damage, _TYPES[column], (Put(_with(row, column, became)),), f"{was!r} → {became!r}"[:80])
        for column, spellings in SPELLED.items():
            for what, was, became in spellings:
                if not self._takes(column, was):
                    continue
                row = self.places[column, was]
                yield Mutation(Damage.SPELLED, _TYPES[column], (Put(_with(row, column, became)),), what)
        for odd in oddities:
            key = self.places[odd.column, odd.was][:2]
            yield Mutation(Damage.TYPE, _TYPES[odd.column], (Odd(key, odd.column, odd.value),), odd.what)

    def _columns(self) -> Iterator[Mutation]:
        """What can happen to a cell of any column, in touched rows and in others."""
        for column in list(_TYPES)[2:]:
            type_, place = _TYPES[column], list(_TYPES).index(column)
            updates = ((row, self.first[row[:2]][place]) for row in self.written if row[:2] in self.first)
            updated, old = next((row, old) for row, old in updates if old != row[place])
            yield Mutation(Damage.OLD, type_, (Put(_with(updated, column, old)),))
            yield Mutation(Damage.OLD, type_, tuple(Put(_with(row, column, _FIRST[column])) for row in self.written))
            yield Mutation(Damage.EMPTY, type_, (Put(_with(self.kept[0], column, None)),), "untouched row")
            yield Mutation(Damage.RELEASE, type_, (Put(_with(self.kept[1], column, _THIRD[column])),), "untouched row")
            one, other = next(
                pair for pair in pairwise([*self.written, *self.kept]) if pair[0][place] != pair[1][place]
            )
            copied = Put(_with(one, column, other[place]))
            yield Mutation(Damage.NEIGHBOUR, type_, (copied,))
            yield Mutation(Damage.NEIGHBOUR, type_, (copied, Put(_with(other, column, one[place]))))
        row = self.written[0]
        swapped = _with(_with(row, "title", row[3]), "note", row[2])
        yield Mutation(Damage.NEIGHBOUR, "text", (Put(swapped),), "two columns' values swapped")
        joined = _with(_with(row, "title", f"{row[2]}{row[3]}"), "note", "")
        yield Mutation(Damage.NEIGHBOUR, "text", (Put(joined),), "the next column's text joined to this one's")

    def _keys(self, keys: Sequence[tuple[Damage, str, str]]) -> Iterator[Mutation]:
        moves = [(damage, was, 7, became, 7) for damage, was, became in keys]
        moves += [(Damage.KEY, "A-100", 7, "A-100", number) for number in (8, -7, 70, 0, 2**63 - 1)]
        moves += [
            (Damage.KEY, "K", 11, "K1", 1),
            (Damage.KEY, "row", 0, "kept", 99),
            (Damage.KEY, "kept", 0, "KEPT", 0),
        ]
        for damage, code, number, other_code, other_number in moves:
            row = self.second[code, str(number)]
            moved = Put((other_code, str(other_number), *row[2:]))
            what = f"{code!r}, {number} → {other_code!r}, {other_number}"
            yield Mutation(damage, "key", (Drop(row[:2]), moved), what)
        for row in (self.written[0], self.kept[0]):
            yield Mutation(Damage.ROW_DOUBLED, "row", (Put(("double", "1", *row[2:])),), "under a new key")

    def _rows(self) -> Iterator[Mutation]:
        for row in (*self.written[:9], *self.kept[:2]):
            yield Mutation(Damage.ROW_LOST, "row", (Drop(row[:2]),))
        for row in self.deleted:
            yield Mutation(Damage.NOT_DONE, "row", (Put(row),), "delete")
        for row in self.written:
            if row[:2] in self.first:
                yield Mutation(Damage.NOT_DONE, "row", (Put(self.first[row[:2]]),), "update")
        for row in (*self.written[:6], *self.kept[:3]):
            yield Mutation(Damage.RELEASE, "row", (Put((*row[:2], *_THIRD.values())),))
        for one, other in (*pairwise(self.written[:7]), self._in_one_bucket(), (self.kept[0], self.written[0])):
            there, here = Put((*other[:2], *one[2:])), Put((*one[:2], *other[2:]))
            yield Mutation(Damage.ROW_DOUBLED, "row", (there,), "over another row")
            yield Mutation(Damage.ROW_SWAPPED, "row", (there, here))

    def _in_one_bucket(self) -> tuple[Row, Row]:
        """Their bucket's sums must tell them apart."""
        return next(
            (one, other)
            for one in self.written
            for other in self.written
            if one < other and bucket_of(one[:2]) == bucket_of(other[:2]) and one[2:] != other[2:]
        )

    def _many(self) -> Iterator[Mutation]:
        rows, both = self.written, [*self.written, *self.kept]
        yield Mutation(Damage.ROW_LOST, "row", tuple(Drop(row[:2]) for row in both), "all")
        yield Mutation(Damage.ROW_LOST, "row", tuple(Drop(row[:2]) for row in rows[::2]), "every second")
        yield Mutation(Damage.NOT_DONE, "row", tuple(map(Put, self.deleted)), "all deletes")
        yield Mutation(
            Damage.NOT_DONE, "row", tuple(Put(self.first[r[:2]]) for r in rows if r[:2] in self.first), "all"
        )
        yield Mutation(Damage.ROW_DOUBLED, "row", tuple(Put(("again", *row[1:])) for row in rows), "all")
        again = tuple(Put((code, *rows[0][1:])) for code in ("one", "two"))
        yield Mutation(Damage.ROW_DOUBLED, "row", again, "twice more: an XOR would see one row")
        lost_and_doubled = (Drop(rows[0][:2]), Put((*rows[1][:2], *rows[2][2:])))
        yield Mutation(
            Damage.ROW_LOST, "row", (*lost_and_doubled, Put(("new", "1", *rows[3][2:]))), "one lost, one more"
        )
        turned = zip(rows, (*rows[1:], rows[0]), strict=True)
        yield Mutation(
            Damage.ROW_SWAPPED, "row", tuple(Put((*a[:2], *b[2:])) for a, b in turned), "each has the next's"
        )
        yield Mutation(Damage.REWRITTEN, "row", (Put(rows[0]),), "one")
        yield Mutation(Damage.REWRITTEN, "row", (Drop(rows[0][:2]), Put(rows[0])), "one, deleted and inserted")
        away, back = (Drop(row[:2]) for row in both), (Put(row) for row in reversed(both))
        yield Mutation(Damage.REWRITTEN, "row", (*away, *back), "all, in another order")


def _row(code: str, number: int, values: Mapping[str, str | None]) -> Row:
    return code, str(number), *(values[name] for name in list(_TYPES)[2:])


def _named(row: Row) -> dict[str, str | None]:
    return dict(zip(list(_TYPES)[2:], row[2:], strict=True))


def _with(row: Row, column: str, value: str | None) -> Row:
    place = list(_TYPES).index(column)
    return *row[:place], value, *row[place + 1 :]
