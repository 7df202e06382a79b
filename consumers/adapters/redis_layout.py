"""What the adapter keeps in a member's Redis, and what readers are led by. All keys begin with the member's prefix.

    distributor_release            environment, system, release, flipped_at; and slot, by which readers are led
    table:NAME                     what makes NAME a table for readers: the keys of its slots
    slot:a:NAME, slot:b:NAME       each slot of a table: columns, key, and the generation that it holds
    shapes                         the same columns and key, with types, as they were made: a:NAME, b:NAME
    directory:GENERATION:NAME      piece → the generation in which it was written
    rows:GENERATION:PIECE:NAME     rows, packed, under their packed key (redis_text.py)
    member                         the member's row and its version
    loads, load:ID, garbage, snapshots, lock

A table is 4,096 pieces, by the hash of the key. A load writes a generation of its own: of each piece that it touches it
makes a copy, and its directory leads to those and to the untouched ones. Its commit sets one field per table, so it
takes no longer for a large load; nothing that a slot holds is ever written over; and whoever has read a slot's
generation has a snapshot of it, for as long as nobody sweeps what no slot has any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from consumers.adapters.base import TableSpec
from consumers.adapters.redis_line import Session
from consumers.adapters.redis_state import SLOTS, Fields, Made, Shape, State, state, told
from distributor.errors import ConfigError, SystemAlteredError, UnreachableError
from distributor.rollout.member_row import MemberRow, SlotName, other
from distributor.telemetry.logs import logger

RELEASE = "distributor_release"
_AGAIN = "its consumer makes it anew when it starts, or stages"
_BACK = "The member's consumer puts it back when it starts, or stages."
_ATTEMPTS = 20
_log = logger("adapter")


def prepare(session: Session, where: str, row: MemberRow, tables: Sequence[TableSpec]) -> None:
    """Creates what is missing, in one transaction; `row` is the member's first one.

    Raises ConfigError when the prefix is another member's, SystemAlteredError when something of somebody else's is in
    the way or a table of ours is not as it was made.
    """
    for _ in range(_ATTEMPTS):
        with session.client.pipeline() as transaction:
            names = [table.name for table in tables]
            transaction.watch(*(session.key(*parts) for parts in _watched(names)))
            found = state(session, names, transaction)
            wanted = list(_wanted(session, where, row, tables, found))
            if not wanted:
                return
            transaction.multi()
            for do in wanted:
                do(transaction)
            try:
                transaction.execute()
            except redis.WatchError:
                continue
            return
    raise UnreachableError("others change the member's keys all the time", where=where)


def _watched(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    yield from (("member",), (RELEASE,), ("shapes",))
    for name in names:
        yield "table", name
        yield from (("slot", slot, name) for slot in SLOTS)


def _wanted(
    session: Session, where: str, first: MemberRow, tables: Sequence[TableSpec], found: State
) -> Iterator[Callable[[Any], Any]]:
    """What has to be written."""
    owner = first
    if found.member:
        owner = found.row(where)
    elif found.release:
        raise _in_the_way(where, RELEASE)
    if (owner.environment, owner.system) != (first.environment, first.system):
        raise ConfigError(
            f"this prefix is the store of {owner.system} in {owner.environment},"
            f" not of {first.system} in {first.environment}",
            where=where,
            mend="Every member needs a prefix, or a database, of its own (option prefix).",
        )
    if not found.member:
        yield _hset(session.key("member"), {"version": "0", "row": owner.model_dump_json()})
    shown = told(owner)
    if "?" in found.release:
        raise _in_the_way(where, RELEASE)
    if found.release != shown:
        if found.release.get("slot") == other(owner.active):
            _log.warning("readers were led elsewhere by hand, and are led back", slot=owner.active)
        yield lambda transaction: transaction.delete(session.key(RELEASE))
        yield _hset(session.key(RELEASE), shown)
    for table in tables:
        made = found.tables[table.name]
        if made.view not in ({}, _view(session, table.name)):
            raise _refused(where, table.name, made.known)
        for what in _altered_slots(session, table.name, made):
            raise _altered(where, what)
        if not made.known:
            shape = Shape.of(table.schema)
            for slot in SLOTS:
                yield _hset(session.key("slot", slot, table.name), {"columns": shape.columns, "key": shape.key})
                yield _hset(session.key("shapes"), {f"{slot}:{table.name}": shape.made})
        if not made.view:
            yield _hset(session.key("table", table.name), _view(session, table.name))


def _hset(key: str, fields: Fields) -> Callable[[Any], Any]:
    return lambda transaction: transaction.hset(key, mapping=dict(fields))


def _view(session: Session, name: str) -> Fields:
    return {slot: session.key("slot", slot, name) for slot in SLOTS}


def check(session: Session, where: str, slot: SlotName, table: TableSpec, *, cleared: bool) -> None:
    """Compares a table's slots with what was made, and with what is loaded unless it is cleared first.

    Raises SystemAlteredError.
    """
    made = state(session, [table.name]).tables[table.name]
    for what in _altered_slots(session, table.name, made):
        raise _altered(where, what)
    if not cleared and made.shapes[slot] != Shape.of(table.schema).made:
        place = session.key("slot", slot, table.name)
        raise _altered(where, f"{place} has another shape than what is loaded" if made.known else f"{place} is missing")


def altered(session: Session, where: str, found: State, tables: Sequence[TableSpec]) -> list[str]:
    """All that is not as it was made, or leads readers elsewhere than the row says: each with its mend."""
    row, said = found.row(where), []
    for table in tables:
        made = found.tables.get(table.name)
        if made is None or not made.known:
            continue
        said += [str(_altered("", what)) for what in _altered_slots(session, table.name, made)]
        if not made.view:
            said.append(f"the key {session.key('table', table.name)} is gone. {_AGAIN.capitalize()}.")
        elif made.view != _view(session, table.name):
            said.append(str(_refused("", session.key("table", table.name), known=True)))
    shown = told(row)
    if "?" in found.release:
        said.append(str(_in_the_way("", session.key(RELEASE))))
    elif (slot := found.release.get("slot")) and slot != row.active:
        what = f"and slot {row.active} is online by the member's row"
        said.append(f"readers see slot {slot} ({RELEASE}), {what}. {_BACK}")
    elif found.release != shown:
        release, system, environment = (found.release.get(name, "?") for name in ("release", "system", "environment"))
        what = f"release {release} of {system} in {environment}" if found.release else "nothing"
        said.append(f"{session.key(RELEASE)} tells readers {what}, and not release {shown['release']}. {_BACK}")
    return said


def _altered_slots(session: Session, name: str, made: Made) -> Iterator[str]:
    for slot in SLOTS:
        place, found = session.key("slot", slot, name), made.slots[slot]
        if not made.known:
            if found:
                yield f"the key {place} is there, but was not made here"
        elif not made.shapes[slot]:
            yield f"the key {session.key('shapes')} has lost its field {slot}:{name}"
        elif not found:
            yield f"the key {place} is missing"
        elif "?" in found:
            yield f"the key {place} is no hash any more"
        else:
            wanted = Shape.parse(made.shapes[slot])
            if found.get("key") != wanted.key:
                yield f"the key of {place} is not ({', '.join(json.loads(wanted.key))})"
            elif found.get("columns") != wanted.columns:
                yield f"{place} {_difference(found.get('columns', ''), json.loads(wanted.columns))}"


def _difference(columns: str, wanted: Sequence[str]) -> str:
    try:
        found = [str(name) for name in json.loads(columns)]
    except (ValueError, TypeError):
        return "has lost its columns"
    if missing := [name for name in wanted if name not in found]:
        return f"has no column {missing[0]}"
    if extra := [name for name in found if name not in wanted]:
        return f"has a column {extra[0]} that was not made here"
    return "has its columns in another order"


def _refused(where: str, name: str, known: bool) -> SystemAlteredError:
    """Something of ours that somebody altered, or something of somebody else's."""
    if not known:
        return _in_the_way(where, name)
    return SystemAlteredError(
        f"the table {name} was altered: readers take its rows for what no slot holds",
        where=where,
        mend=f"It was not touched. Delete its key (DEL …:table:…); {_AGAIN}.",
    )


def _in_the_way(where: str, name: str) -> SystemAlteredError:
    return SystemAlteredError(
        f"{name} is already there, and was not made here",
        where=where,
        mend="It was not touched. Rename it, give the readers' table another name (into), or take another prefix.",
    )


def _altered(where: str, what: str) -> SystemAlteredError:
    return SystemAlteredError(
        what,
        where=where,
        mend="Put it back as it was, or delete all keys of the prefix to have the system loaded anew.",
    )
