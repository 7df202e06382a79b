"""What a member does with a command: its table, pure. The hands hold the row's lock from reading to saving.

First, for every command (epoch e, rollout id): `e` below the floor, or equal to it and closed, is stale; `e` at the
floor under another id is a conflict; both are answered and change nothing. A newer `e` becomes the floor before
anything else, which also cuts every running load and forgets what was staged.

| command | condition | effect | answer |
|---|---|---|---|
| stage | flipped under e | none | flipped |
| | staged under e | none | staged |
| | flipped under an epoch in `void`, way back intact | back slot online; then as below | |
| | a slot holds the target: release, mapping, schema; intact, no doubt | marks it staged, kills tokens | staged |
| | else | a new token for the shadow | a load begins |
| flip | flipped under e | none | flipped, with the stored time |
| | staged under e, slot still whole, `at` ≤ now ≤ `not_after` | that slot online, this one the way back | flipped |
| | the same, now < `at` | none | wait: the flip is judged anew when the timer strikes |
| | the same, now > `not_after` | none | hello: asks instead of flipping |
| | else | none | refused: not staged |
| revert | flipped under `of`, way back intact | back slot online | reverted |
| | flipped under `of`, way back gone | none | refused: no previous |
| | not flipped under `of` | forgets what was staged | reverted |
| abandon | flipped under e | closes the epoch | flipped: the ledger lost a decision |
| | else | closes the epoch, forgets what was staged | hello: what it shows |
| settle | does not show the release | none | hello |
| | both slots hold the same | none | settled |
| | else | a new token for the shadow | a load begins |

A slot is *in doubt* when an audit found something else stored than its certificate says; only a load ends that. A stage
with a repair list gives it to the slots in doubt. What is staged and comes into doubt is not staged any more.

A load may write and commit only while its token stands in its slot, its epoch is the floor, the epoch is not closed
and its slot is not online. The token stands for the slot's base too: whatever changes a slot takes the token away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from distributor.rollout.commands import Abandon, Command, Flip, Revert, Settle, Stage
from distributor.rollout.events import RefusalReason
from distributor.rollout.member_row import MemberRow, Mend, Slot, SlotIdentity, SlotName, other


class ReplyKind(StrEnum):
    """Which report answers a command."""

    STAGED = "staged"
    FLIPPED = "flipped"
    REVERTED = "reverted"
    REFUSED = "refused"
    HELLO = "hello"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this report; `reason` and `text` only when refused. All else in it is read from the row."""

    kind: ReplyKind
    reason: RefusalReason | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Put the very same command to the table again at `until` (the member's clock); nothing else was promised."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Load:
    """Load into `slot` outside this transaction, under `token`. `settles`: the online release, not a staged one."""

    slot: SlotName
    token: str
    epoch: int
    rollout_id: str
    settles: bool = False


Action = Reply | Wait | Load


@dataclass(frozen=True, slots=True)
class Outcome:
    """The row to save (perhaps unchanged), and what to do once it is saved."""

    row: MemberRow
    action: Action


def answer(row: MemberRow, command: Command, *, target: SlotIdentity | None, token: str, now: datetime) -> Outcome:
    """One command against the row.

    `target` is what a stage asks for in this member's mapping (None: release 0, empty); other commands ignore it.
    `token` is fresh; it is used if a load begins. Times of `command` and `now` are of the member's clock.
    """
    if (refused := refusal(row, command)) is not None:
        return Outcome(row, refused)
    row = accept(row, command)
    match command:
        case Stage():
            return stage(row, command, target, token)
        case Flip():
            return flip(row, command, now)
        case Revert():
            return revert(row, command)
        case Abandon():
            return abandon(row, command)
        case Settle():
            return settle(row, command, token)
        case _:
            assert_never(command)


def refusal(row: MemberRow, command: Command) -> Reply | None:
    """Why a command may do nothing at all: its epoch is over, or is another rollout's. None: it is carried out."""
    if command.epoch < row.floor or (command.epoch == row.floor and row.closed):
        text = f"epoch {command.epoch} is over, the floor is {row.floor}"
        return Reply(ReplyKind.REFUSED, RefusalReason.STALE, text)
    if command.epoch == row.floor and command.rollout_id != row.floor_id:
        text = f"epoch {row.floor} is that of rollout {row.floor_id}"
        return Reply(ReplyKind.REFUSED, RefusalReason.CONFLICT, text)
    return None


def accept(row: MemberRow, command: Command) -> MemberRow:
    """Raises the floor to a newer command, in the transaction that carries it out, even if it does nothing else."""
    if command.epoch == row.floor:
        return row
    return _change(
        row, floor=command.epoch, floor_id=command.rollout_id, closed=False, staged_epoch=None, staged_slot=None
    )


def stage(row: MemberRow, command: Stage, target: SlotIdentity | None, token: str) -> Outcome:
    """The rows of `stage`."""
    if row.flipped_epoch == command.epoch:
        return Outcome(row, Reply(ReplyKind.FLIPPED))
    if row.staged_epoch == command.epoch:
        return Outcome(row, Reply(ReplyKind.STAGED))
    if row.flipped_epoch in command.void and _way_back(row):
        row = _go_back(row)
    if command.repair:
        row = _mended_with(row, Mend(release=command.release, sha256=command.repair))
    for slot in (row.active, other(row.active)):
        if holds(row.slots[slot], target):
            row = _change(row, staged_epoch=command.epoch, staged_slot=slot, slots=_without_tokens(row))
            return Outcome(row, Reply(ReplyKind.STAGED))
    return _begin(row, Load(other(row.active), token, command.epoch, command.rollout_id))


def flip(row: MemberRow, command: Flip, now: datetime) -> Outcome:
    """The rows of `flip`. The pointer is set to the slot that was staged, never swapped."""
    if row.flipped_epoch == command.epoch:
        return Outcome(row, Reply(ReplyKind.FLIPPED))
    slot = row.staged_slot
    if row.staged_epoch != command.epoch or slot is None or row.slots[slot].release != command.release:
        return _refuse(row, RefusalReason.NOT_STAGED, f"release {command.release} is not staged under {command.epoch}")
    if now < command.at:
        return Outcome(row, Wait(command.at))
    if now > command.not_after:
        return Outcome(row, Reply(ReplyKind.HELLO))
    row = _change(
        row,
        active=slot,
        back_slot=row.active,
        flipped_epoch=command.epoch,
        flipped_at=now,
        staged_epoch=None,
        staged_slot=None,
    )
    return Outcome(row, Reply(ReplyKind.FLIPPED))


def revert(row: MemberRow, command: Revert) -> Outcome:
    """The rows of `revert`: by "was it flipped under `of`", not by what it shows."""
    if row.flipped_epoch != command.of:
        return Outcome(_change(row, staged_epoch=None, staged_slot=None), Reply(ReplyKind.REVERTED))
    if not _way_back(row):
        return _refuse(row, RefusalReason.NO_PREVIOUS, f"what was online before epoch {command.of} is gone")
    return Outcome(_go_back(row), Reply(ReplyKind.REVERTED))


def abandon(row: MemberRow, command: Abandon) -> Outcome:
    """The rows of `abandon`. Data stays in the shadow, with its true position."""
    closed = _change(row, closed=True, staged_epoch=None, staged_slot=None)
    kind = ReplyKind.FLIPPED if row.flipped_epoch == command.epoch else ReplyKind.HELLO
    return Outcome(closed, Reply(kind))


def settle(row: MemberRow, command: Settle, token: str) -> Outcome:
    """The rows of `settle`. It never moves the pointer."""
    if row.online.release != command.release:
        return Outcome(row, Reply(ReplyKind.HELLO))
    if holds(row.shadow, row.online.identity):
        return Outcome(_change(row, slots=_without_tokens(row)), Reply(ReplyKind.SETTLED))
    return _begin(row, Load(other(row.active), token, command.epoch, command.rollout_id, settles=True))


def holds(slot: Slot, target: SlotIdentity | None) -> bool:
    """Whether a slot is exactly the target: a mapping or schema that changed is another content for one release."""
    return slot.intact and not slot.doubt and slot.identity == target


def may_continue(row: MemberRow, load: Load) -> bool:
    """The guard of every batch of a load, checked in the transaction that writes the batch."""
    return (
        row.slots[load.slot].token == load.token
        and row.floor == load.epoch
        and row.floor_id == load.rollout_id
        and not row.closed
        and row.active != load.slot
    )


def distrust(row: MemberRow) -> MemberRow:
    """The shadow is not what it was taken for: it counts as torn, so that the next load makes it anew."""
    return _replaced(row, other(row.active), row.shadow.model_copy(update={"intact": False}))


def doubt(row: MemberRow, slot: SlotName, audited: Slot, why: str) -> MemberRow:
    """What an audit of a slot found: `why` it is not as its certificate says, or "" when it is.

    `audited` is the slot as the audit's snapshot had it; a slot that was written since is not what was audited.
    """
    found = row.slots[slot]
    if found.doubt == why or (found.identity, found.certificate, found.intact) != (
        audited.identity,
        audited.certificate,
        audited.intact,
    ):
        return row
    slots = {**row.slots, slot: found.model_copy(update={"doubt": why, "mend": None})}
    if why and row.staged_slot == slot:
        return _change(row, slots=slots, staged_epoch=None, staged_slot=None)
    return _change(row, slots=slots)


def tear(row: MemberRow, load: Load) -> MemberRow | None:
    """The guard of a load's first write in stores that need several transactions: the slot is torn until it commits.

    None: the load was cut, nothing may be written.
    """
    if not may_continue(row, load):
        return None
    torn = row.slots[load.slot].model_copy(update={"intact": False})
    return _replaced(row, load.slot, torn)


def complete_load(
    row: MemberRow, load: Load, *, identity: SlotIdentity | None, manifest: str | None, certificate: str
) -> MemberRow | None:
    """The guard of a load's commit: the row that says what the slot holds now. None: the load was cut, roll back."""
    if not may_continue(row, load):
        return None
    whole = Slot(identity=identity, manifest=manifest, certificate=certificate)
    row = _replaced(row, load.slot, whole)
    if load.settles:
        return row
    return _change(row, staged_epoch=load.epoch, staged_slot=load.slot)


def _begin(row: MemberRow, load: Load) -> Outcome:
    """A load begins: the mark goes and the new token cuts every other load, in one transaction."""
    slots = _without_tokens(row)
    slots[load.slot] = slots[load.slot].model_copy(update={"token": load.token})
    return Outcome(_change(row, staged_epoch=None, staged_slot=None, slots=slots), load)


def _replaced(row: MemberRow, slot: SlotName, content: Slot) -> MemberRow:
    """A slot that is written over is no way back any more."""
    back = None if row.back_slot == slot else row.back_slot
    return _change(row, slots={**row.slots, slot: content}, back_slot=back)


def _way_back(row: MemberRow) -> bool:
    return row.back_slot is not None and row.slots[row.back_slot].intact


def _go_back(row: MemberRow) -> MemberRow:
    assert row.back_slot is not None
    return _change(
        row,
        active=row.back_slot,
        back_slot=None,
        flipped_epoch=None,
        flipped_at=None,
        staged_epoch=None,
        staged_slot=None,
    )


def _without_tokens(row: MemberRow) -> dict[SlotName, Slot]:
    return {name: slot.model_copy(update={"token": None}) for name, slot in row.slots.items()}


def _mended_with(row: MemberRow, mend: Mend) -> MemberRow:
    slots = {n: s.model_copy(update={"mend": mend}) if s.doubt else s for n, s in row.slots.items()}
    return _change(row, slots=slots)


def _refuse(row: MemberRow, reason: RefusalReason, text: str) -> Outcome:
    return Outcome(row, Reply(ReplyKind.REFUSED, reason, text))


def _change(row: MemberRow, **changes: object) -> MemberRow:
    return row.model_copy(update=changes)
