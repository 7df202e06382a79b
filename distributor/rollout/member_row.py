"""A member's row, kept in its own store and changed only under its lock."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from distributor.model.dataset import Frozen

SlotName = Literal["a", "b"]


def other(slot: SlotName) -> SlotName:
    """The slot that is not this one."""
    return "b" if slot == "a" else "a"


class SlotIdentity(Frozen):
    """What a slot holds: 'already there' compares all of it. `variant` is the sha256 of the manifest where that is a
    variant of the release, without rows that are held back; "" for the release itself."""

    release: int
    mapping: str
    schema_: str
    variant: str = ""


class Mend(Frozen):
    """What repairs a slot that was altered: the sha256 of a repair list (`model.repair`), and of which release."""

    release: int
    sha256: str


class Slot(Frozen):
    """One slot. `certificate` is the JSON of the certificate read back after the load; `token` the running load's.

    `manifest` is the sha256 of the manifest of the release it holds (None for release 0): where chains start. `doubt`
    says what an audit found: what is stored is not what the certificate says. Readers may see such a slot, and a
    revert may go back to it, but it counts as holding nothing: whatever is loaded into it repairs it, with `mend`
    where that is known, else by loading everything anew.
    """

    identity: SlotIdentity | None = None
    manifest: str | None = None
    intact: bool = True
    certificate: str = ""
    token: str | None = None
    doubt: str = ""
    mend: Mend | None = None

    @property
    def release(self) -> int | None:
        """The release it holds whole; None while torn."""
        if not self.intact:
            return None
        return self.identity.release if self.identity else 0


def _two_empty_slots() -> dict[SlotName, Slot]:
    return {"a": Slot(), "b": Slot()}


class MemberRow(Frozen):
    """What a member knows of commands and slots. An empty slot is release 0, intact.

    `floor` and `floor_id` name the newest command that was accepted, `closed` that it was abandoned. `staged_slot` is
    the slot that flips under `staged_epoch`; `back_slot` is where a revert of `flipped_epoch` leads.
    """

    environment: str
    system: str
    floor: int = 0
    floor_id: str = ""
    closed: bool = False
    active: SlotName = "a"
    slots: dict[SlotName, Slot] = Field(default_factory=_two_empty_slots)
    staged_epoch: int | None = None
    staged_slot: SlotName | None = None
    flipped_epoch: int | None = None
    flipped_at: datetime | None = None
    back_slot: SlotName | None = None

    @property
    def online(self) -> Slot:
        """What readers see."""
        return self.slots[self.active]

    @property
    def shadow(self) -> Slot:
        """What is loaded into."""
        return self.slots[other(self.active)]
