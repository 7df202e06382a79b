"""What a version says: the member's row, and which files each slot has of each table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC

from distributor.model.dataset import DatasetSchema, Frozen
from distributor.rollout.member_row import MemberRow, SlotName

LOCK, VERSIONS, DATA = "distributor.lock", "versions", "data"
STATE, CATALOGUE, RELEASE_FILE = "state.json", "catalog.duckdb", "release.json"
RELEASE = "distributor_release"
SLOTS: tuple[SlotName, ...] = ("a", "b")


class Part(Frozen):
    """One immutable file: all rows of a table in the buckets from `first` up to, not including, `last`.

    `file` is its path inside the directory. `size` and `mtime_ns` are the file's when it was written: while it has
    them, nobody looks into it for its shape.
    """

    file: str
    first: int
    last: int
    rows: int
    size: int
    mtime_ns: int

    def holds(self, buckets: Collection[int]) -> bool:
        """Whether any of these buckets lies in it."""
        return any(self.first <= bucket < self.last for bucket in buckets)


class Held(Frozen):
    """A table in one slot: the shape in which it was made there, and its files: one at least, always."""

    shape: DatasetSchema
    parts: tuple[Part, ...]

    def is_of(self, schema: DatasetSchema) -> bool:
        """Whether it has these columns and this key."""
        return (self.shape.columns, self.shape.key) == (schema.columns, schema.key)


Slots = dict[SlotName, Held]


class State(Frozen):
    """One state of a member. `seen` are the sha256 of the files for readers beside it."""

    row: MemberRow
    tables: dict[str, Slots]
    seen: dict[str, str]

    def files(self, *slots: SlotName) -> set[str]:
        """The files of some slots; of both when none is given."""
        wanted = slots or SLOTS
        return {part.file for slots_of in self.tables.values() for slot in wanted for part in slots_of[slot].parts}

    def with_slot(self, slot: SlotName, made: dict[str, Held]) -> State:
        """The state with some tables made anew in one slot."""
        tables = {name: {**slots, slot: made.get(name, slots[slot])} for name, slots in self.tables.items()}
        return self.model_copy(update={"tables": tables})


@dataclass(frozen=True, slots=True)
class Sight:
    """What readers see: the release, and the columns and files of each table."""

    environment: str
    system: str
    release: int
    flipped_at: str | None
    tables: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def sight_of(state: State, slot: SlotName | None = None) -> Sight:
    """What readers of a state see; with `slot`, what they would if that one were online."""
    row, shown = state.row, slot or state.row.active
    return Sight(
        row.environment,
        row.system,
        row.online.identity.release if row.online.identity else 0,
        row.flipped_at.astimezone(UTC).isoformat(" ") if row.flipped_at else None,
        {
            name: (slots[shown].shape.column_names, tuple(part.file for part in slots[shown].parts))
            for name, slots in state.tables.items()
        },
    )
