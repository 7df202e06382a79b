"""Everything small that is under a member's prefix, read in one step, and what it says in the adapter's words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.adapters import redis_scripts as scripts
from consumers.adapters.redis_line import Session
from distributor.errors import SystemAlteredError
from distributor.model.dataset import DatasetSchema
from distributor.rollout.member_row import MemberRow, SlotName

SLOTS: tuple[SlotName, ...] = ("a", "b")
Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Made:
    """One table as it is: what readers are led by, both slots, and in which shape each was made."""

    view: Fields
    slots: Mapping[SlotName, Fields]

    shapes: Mapping[SlotName, str]

    @property
    def known(self) -> bool:
        """Whether it was made here at all."""
        return any(self.shapes.values())


@dataclass(frozen=True, slots=True)
class State:
    """Everything small under the prefix, read in one step. A key of another type is one field `?`."""

    member: Fields
    release: Fields
    tables: Mapping[str, Made]

    @classmethod
    def parse(cls, reply: Sequence[Any]) -> State:
        """What the scripts STATE and PIN return."""
        member, release, shapes, *tables = reply
        made, found = _fields(shapes), {}
        for key, view, a, b in tables:
            name = key.decode(errors="replace")
            slots: dict[SlotName, Fields] = {"a": _fields(a), "b": _fields(b)}
            found[name] = Made(_fields(view), slots, {slot: made.get(f"{slot}:{name}", "") for slot in SLOTS})
        return cls(_fields(member), _fields(release), found)

    def row(self, where: str) -> MemberRow:
        """The member's row. Raises SystemAlteredError when there is none."""
        if "row" not in self.member:
            raise lost_row(where)
        return MemberRow.model_validate_json(self.member["row"])


def _fields(flat: Sequence[bytes]) -> Fields:
    texts = [part.decode(errors="replace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def state(session: Session, names: Iterable[str], on: Any = None) -> State:
    """Reads it, with these tables and all that were made; `on` a transaction that watches, if one is given."""
    return State.parse(session.run(scripts.STATE, *names, on=on))


def told(row: MemberRow) -> Fields:
    """What `distributor_release` says by the row."""
    fields = {
        "environment": row.environment,
        "system": row.system,
        "release": str(row.online.identity.release if row.online.identity else 0),
        "slot": row.active,
    }
    return {**fields, "flipped_at": row.flipped_at.isoformat(" ")} if row.flipped_at else fields


@dataclass(frozen=True, slots=True)
class Shape:
    """Columns and key as a slot has them, and both with types as `shapes` has them."""

    columns: str
    key: str
    made: str

    @classmethod
    def of(cls, schema: DatasetSchema) -> Shape:
        """The shape of a table."""
        columns, key = list(schema.column_names), list(schema.key)
        types = [str(column.type) for column in schema.columns]
        return cls(_json(columns), _json(key), _json({"columns": columns, "types": types, "key": key}))

    @classmethod
    def parse(cls, made: str) -> Shape:
        """The same from `shapes`."""
        found = json.loads(made)
        return cls(_json(found["columns"]), _json(found["key"]), made)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lost_row(where: str) -> SystemAlteredError:
    """There is no member's row where one was."""
    return SystemAlteredError(
        "the key member has lost the member's row",
        where=where,
        mend="Put it back, or delete all keys of the prefix to have the system loaded anew.",
    )
