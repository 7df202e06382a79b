"""What is the same in every store: whose it is, a table's shape, what readers are told, and how a no is worded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import Field

from consumers.adapters.base import TableSpec
from distributor.errors import ConfigError, SystemAlteredError
from distributor.model.dataset import DatasetSchema, Frozen
from distributor.rollout.member_row import MemberRow, SlotName
from distributor.settings import MemberSettings

SLOTS: tuple[SlotName, ...] = ("a", "b")
RELEASE = "distributor_release"
RELEASE_COLUMNS = ("environment", "system", "release", "flipped_at")


def quoted(name: str) -> str:
    """An identifier in standard SQL."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """Identifiers, one after another."""
    return ", ".join(map(quoted, names))


def same_key(schema: DatasetSchema, mark: str = "?") -> str:
    """What holds of the row with a key; `mark` is the driver's for a parameter."""
    return " AND ".join(f"{quoted(name)} = {mark}" for name in schema.key)


def _no_shapes() -> dict[SlotName, dict[str, DatasetSchema]]:
    return {slot: {} for slot in SLOTS}


class Kept(Frozen):
    """What an adapter may keep in one document: the member's row, and per slot the tables that were made in it, with
    the shape that each has there."""

    row: MemberRow
    shapes: dict[SlotName, dict[str, DatasetSchema]] = Field(default_factory=_no_shapes)

    def fits(self, slot: SlotName, table: TableSpec) -> bool:
        """Whether a slot has the table with these columns and this key."""
        made = self.shapes[slot].get(table.name)
        return made is not None and (made.columns, made.key) == (table.schema.columns, table.schema.key)

    def having(self, slot: SlotName, table: TableSpec) -> Self:
        """The same with the table in a slot, in the shape that is given."""
        shapes = {**self.shapes, slot: {**self.shapes[slot], table.name: table.schema}}
        return self.model_copy(update={"shapes": shapes})

    def saying(self, row: MemberRow) -> Self:
        """The same with another row."""
        return self.model_copy(update={"row": row})


def located(settings: MemberSettings, scheme: str, directory: Path) -> Path:
    """The path of a URL like `files:///relative/or//absolute`; relative ones start from `directory`.

    Raises ConfigError for any other URL.
    """
    head = f"{scheme}:///"
    if not settings.url.startswith(head) or settings.url == head:
        raise ConfigError(
            f"this is no URL of the adapter {scheme}", where=settings.url, mend=f"It looks like {head}path/to/it."
        )
    return directory / settings.url.removeprefix(head)


def check_parent(path: Path) -> None:
    """Raises ConfigError when the directory in which a member's own would be made does not exist."""
    if not path.parent.is_dir():
        raise ConfigError(f"the directory {path.parent} does not exist", where=str(path), mend="Create it.")


def refuse_options(settings: MemberSettings, *known: str) -> None:
    """Raises ConfigError for an option that the adapter does not know."""
    if unknown := settings.options.keys() - set(known):
        raise ConfigError(
            f"there is no option {min(unknown)!r}", where=settings.url, mend=f"Known: {', '.join(known) or 'none'}."
        )


def check_owner(row: MemberRow, environment: str, system: str, where: str) -> None:
    """Raises ConfigError when the row in a store is another member's."""
    if (row.environment, row.system) != (environment, system):
        raise ConfigError(
            f"this is the store of {row.system} in {row.environment}, not of {system} in {environment}",
            where=where,
            mend="Every member needs one of its own.",
        )


def told(row: MemberRow) -> tuple[str, str, int, datetime | None]:
    """The row of `distributor_release`."""
    release = row.online.identity.release if row.online.identity else 0
    return row.environment, row.system, release, row.flipped_at


def in_the_way(where: str, name: str) -> SystemAlteredError:
    """Something of the user's has the name of what readers shall look at."""
    return SystemAlteredError(
        f"{name} is already there, and was not made here",
        where=where,
        mend="It was not touched. Rename it, or give the readers' table another name (into).",
    )


def not_as_made(where: str, what: str) -> SystemAlteredError:
    """A table, or what readers look through, is not as it was made."""
    return SystemAlteredError(
        what, where=where, mend="Put it back as it was, or move the store away to have the system loaded anew."
    )
