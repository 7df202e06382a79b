"""Whether a member's directory still is as it was made, and how it is made and mended: `prepare` and `altered`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from consumers.adapters.base import TableSpec
from consumers.adapters.common import RELEASE, RELEASE_COLUMNS, SLOTS, check_owner, check_parent
from consumers.adapters.files_disk import sync_directory, translated
from consumers.adapters.files_form import LOAD_ANEW
from consumers.adapters.files_home import Home, State, check_names, release_row
from consumers.adapters.files_table import check, file_name, write
from distributor.errors import ConfigError, DistributorError, SystemAlteredError
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.telemetry.logs import logger

_AGAIN = "its consumer makes it anew when it starts, or stages"
_BACK = "The member's consumer puts it back when it starts, or stages."
_log = logger("adapter")


def prepare(home: Home, row: MemberRow, tables: Sequence[TableSpec]) -> None:
    """Creates what is missing; `row` is the member's first one.

    Raises ConfigError when the directory is another member's or names collide, SystemAlteredError when something of
    somebody else's lies where readers look or a file has other columns, UnreachableError.
    """
    where = str(home.root)
    check_names(where, home.form, tables)
    check_parent(home.root)
    with home.serving():
        home.inner.mkdir(parents=True, exist_ok=True)
        with home.lock.locked():
            state = home.settled() or _first(home, row, tables)
            check_owner(state.row, row.environment, row.system, where)
            _check_options(home, state)
            _lead_back(home, state)
            for table in tables:
                if refused := _refused(home, state, table):
                    raise refused
            state = _with_tables(home, state, tables)
            _show_again(home, state)


def altered(home: Home, state: State, tables: Sequence[TableSpec]) -> list[str]:
    """All that is not as it was made, or leads readers elsewhere than the row says: each with its mend."""
    held = [table for table in tables if table.name in state.shapes[state.row.active]]
    found = [str(refused) for table in held if (refused := _refused(home, state, table))]
    if home.linked() != state.shown:
        led = f"to {home.current.resolve()}" if home.current.exists() else "nowhere"
        found.append(f"readers are led {led}, and not to release {release_row(state.row)[2]}. {_BACK}")
    view = home.view(state)
    for table in held:
        if not os.path.lexists(view / file_name(table.name)):
            found.append(f"{file_name(table.name)} is gone from where readers look. {_AGAIN.capitalize()}.")
    if _told(home, state) != _tells(home, state):
        found.append(f"{file_name(RELEASE)} does not tell readers of release {release_row(state.row)[2]}. {_BACK}")
    return found


def _first(home: Home, row: MemberRow, tables: Sequence[TableSpec]) -> State:
    if os.path.lexists(home.current):
        files = (home.current / file_name(table.name) for table in tables)
        raise _in_the_way(next(filter(os.path.lexists, files), home.current))
    places: dict[SlotName, str] = {slot: f"{slot}-0" for slot in SLOTS}
    state = State(row=row, places=places, shown=1, options=home.form.options)
    for slot in SLOTS:
        home.place(state, slot).mkdir(parents=True, exist_ok=True)
    home.show(state)
    home.write(state)
    return state


def _check_options(home: Home, state: State) -> None:
    if changed := [name for name, value in home.form.options.items() if state.options.get(name) != value]:
        was = f"the files were written with {changed[0]} = {state.options.get(changed[0])!r}"
        raise ConfigError(was, where=str(home.root), mend=f"Put the option back. {LOAD_ANEW}")


def _lead_back(home: Home, state: State) -> None:
    if home.linked() == state.shown and home.view(state).is_dir():
        return
    if os.path.lexists(home.current):
        if not home.linked():
            raise _in_the_way(home.current)
        _log.warning("readers were led elsewhere by hand, and are led back", where=str(home.current))
    if home.view(state).is_dir():
        home.lead(state)
    else:
        home.show(state)


def _refused(home: Home, state: State, table: TableSpec) -> DistributorError | None:
    """What stands in the way of a table, or is not as it was made."""
    seen, known = home.view(state) / file_name(table.name), table.name in state.shapes[state.row.active]
    if os.path.lexists(seen) and not (known and _same(seen, home.file(state, state.row.active, table))):
        return _in_the_way(seen)
    if not known:
        return None
    try:
        for slot in SLOTS:
            check(home.form, home.file(state, slot, table), state.tables(slot)[table.name])
    except OSError as error:
        return translated(error, str(home.root))
    except SystemAlteredError as error:
        return error
    return None


def _with_tables(home: Home, state: State, tables: Sequence[TableSpec]) -> State:
    new = [table for table in tables if table.name not in state.shapes["a"]]
    if not new:
        return state
    for slot in SLOTS:
        for table in new:
            write(home.form, home.file(state, slot, table), table.schema.column_names, ())
            state = state.having(slot, table)
        sync_directory(home.place(state, slot))
    home.write(state)
    return state


def _show_again(home: Home, state: State) -> None:
    """What readers look at, as far as somebody took it away or it is new."""
    view, place = home.view(state), home.place(state, state.row.active)
    for name in map(file_name, state.shapes[state.row.active]):
        with suppress(FileExistsError):
            os.link(place / name, view / name)
    if _told(home, state) != _tells(home, state):
        seen = view / file_name(RELEASE)
        header = home.form.record(RELEASE_COLUMNS) + home.form.line_end
        if home.form.header and seen.exists() and not _told(home, state).startswith(header):
            raise _in_the_way(seen)
        home.tell(state)


def _told(home: Home, state: State) -> str:
    try:
        with home.form.open(home.view(state) / file_name(RELEASE)) as file:
            return file.read()
    except (FileNotFoundError, UnicodeError):
        return ""


def _tells(home: Home, state: State) -> str:
    form = home.form
    rows = ([RELEASE_COLUMNS] if form.header else []) + [release_row(state.row)]
    return "".join(form.record(row) + form.line_end for row in rows)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def _in_the_way(path: Path) -> SystemAlteredError:
    return SystemAlteredError(
        "this is already there, and was not put there by the consumer",
        where=str(path),
        mend=f"It was not touched. Move it away, and {_AGAIN}; or give the readers' table another name (into).",
    )
