"""The rules of the protocol, each switched off: what a walk must find within seconds, or it proves nothing.

The names are those of the reasons for which the rules exist: V1 to V22. V20 and V21 need a ledger that is restored
from a backup, which the walk does not do: a scenario of restores.py finds these. `python -m tests.rollout.mutants`
prints the table of docs/protocol-walk.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from distributor.rollout import flipping, happenings, member, membership, protocol, reverting, staging, step
from distributor.rollout.commands import Abandon, Command, Flip, Output, Revert, Stage
from distributor.rollout.events import Event, RefusalReason, Tick
from distributor.rollout.happenings import Happening
from distributor.rollout.member import Load, Outcome, Reply, ReplyKind
from distributor.rollout.member_row import MemberRow, Slot, SlotIdentity, other
from distributor.rollout.protocol import Cell, Phase
from distributor.rollout.state import Cause, Environment, Requirement, RolloutState
from distributor.rollout.step import Step, everyone
from tests.rollout import restores
from tests.rollout.walk import walk
from tests.rollout.world import DEPLOY_1, DEPLOY_2, Bounds, Violation

_Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A broken rule, by which invariant it shows, and where: in a walk, or in a scenario."""

    name: str
    breaks: str
    patch: _Patch
    where: Bounds | Callable[[], None]
    prune: bool = False

    @property
    def rule(self) -> str:
        """V1 to V22, with a letter for one that has two halves."""
        return self.name.split()[0]

    def look(self) -> None:
        """Raises Violation once the rule is switched off."""
        if isinstance(self.where, Bounds):
            walk(self.where, limit=60_000, live=self.breaks == "liveness", prune=self.prune)
        else:
            self.where()


def _small(**more: Any) -> Bounds:
    return Bounds(**{"wishes": DEPLOY_1, "epochs": 2, "loaders": 1, **more})


def _revert_under_the_same_epoch(patch: pytest.MonkeyPatch) -> None:
    def begin(now: Step, at: datetime, id: str, why: str) -> Step:
        before = now.state
        now = begin_revert(now, at, id, why)
        same = now.rollout(revert_epoch=now.active.epoch, revert_id=now.active.id)
        same = same.set(epoch=before.epoch, epoch_id=before.epoch_id)
        return replace(same, outputs=tuple(step.revert(same.active, m) for m in everyone(same.active)))

    begin_revert = reverting.begin_revert
    for module in (flipping, membership):
        patch.setattr(module, "begin_revert", begin)


def _floor_stays_where_nothing_is_reverted(patch: pytest.MonkeyPatch) -> None:
    accept = member.accept

    def forgetful(row: MemberRow, command: Command) -> MemberRow:
        idle = isinstance(command, Revert) and row.flipped_epoch != command.of
        return row if idle else accept(row, command)

    patch.setattr(member, "accept", forgetful)


def _revert_gives_up_waiting(patch: pytest.MonkeyPatch) -> None:
    def give_up(now: Step, event: Tick) -> Step:
        return now.end(RolloutState.REVERTED, event.at, "")

    patch.setitem(protocol.TABLE, (Happening.DEADLINE, Phase.REVERTING), Cell(give_up))


def _abandon_after_the_decision(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(protocol.TABLE, (Happening.ABORT, Phase.FLIPPING), Cell(staging.abort))


def _flip_is_swap(patch: pytest.MonkeyPatch) -> None:
    def swap(row: MemberRow, command: Flip, now: datetime) -> Outcome:
        if row.staged_epoch != command.epoch and row.flipped_epoch != command.epoch:
            return Outcome(row, Reply(ReplyKind.REFUSED, RefusalReason.NOT_STAGED))
        swapped = {"active": other(row.active), "back_slot": row.active, "flipped_epoch": command.epoch}
        return Outcome(row.model_copy(update=swapped), Reply(ReplyKind.FLIPPED))

    patch.setattr(member, "flip", swap)


def _stage_after_flip(patch: pytest.MonkeyPatch) -> None:
    def stage(row: MemberRow, command: Stage, target: SlotIdentity | None, token: str) -> Outcome:
        if row.staged_epoch == command.epoch:
            return Outcome(row, Reply(ReplyKind.STAGED))
        return member._begin(row, Load(other(row.active), token, command.epoch, command.rollout_id))

    patch.setattr(member, "stage", stage)


def _stage_reloads_and_flip_trusts_the_mark(patch: pytest.MonkeyPatch) -> None:
    def stage(row: MemberRow, command: Stage, target: SlotIdentity | None, token: str) -> Outcome:
        if row.flipped_epoch == command.epoch:
            return Outcome(row, Reply(ReplyKind.FLIPPED))
        marked = {"staged_epoch": row.staged_epoch, "staged_slot": row.staged_slot}
        load = Load(other(row.active), token, command.epoch, command.rollout_id)
        return Outcome(member._begin(row, load).row.model_copy(update=marked), load)

    def flip(row: MemberRow, command: Flip, now: datetime) -> Outcome:
        trusted = other(row.active)
        whole = Slot(identity=SlotIdentity(release=command.release, mapping="m", schema_="s"))
        if row.staged_epoch != command.epoch:
            return flip_rows(row, command, now)
        believed = row.model_copy(update={"slots": {**row.slots, trusted: whole}, "staged_slot": trusted})
        return flip_rows(believed, command, now)

    flip_rows = member.flip
    patch.setattr(member, "stage", stage)
    patch.setattr(member, "flip", flip)


def _load_is_not_fenced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(member, "may_continue", lambda row, load: True)


def _fenced_by_epoch_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(member, "may_continue", lambda row, load: row.floor == load.epoch and not row.closed)


def _no_floor(patch: pytest.MonkeyPatch) -> None:
    answer = member.answer

    def obedient(row: MemberRow, command: Command, **given: Any) -> Outcome:
        if command.epoch < row.floor:
            row = row.model_copy(update={"floor": command.epoch, "floor_id": command.rollout_id, "closed": False})
        return answer(row, command, **given)

    patch.setattr(member, "answer", obedient)


def _reports_without_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(happenings, "is_of", lambda rollout, report: rollout is not None)
    patch.setattr(happenings, "misfit", lambda rollout, report: "")


def _pipelining(patch: pytest.MonkeyPatch) -> None:
    decide = protocol.decide

    def eager(state: Environment, event: Event) -> tuple[Environment, tuple[Output, ...]]:
        after, outputs = decide(state, event)
        if any(isinstance(output, Flip) for output in outputs) and after.active:
            now = after.active
            outputs += tuple(Stage(m, now.epoch, now.id, now.release + 1, now.release) for m in everyone(now))
        return after, outputs

    def stage(row: MemberRow, command: Stage, target: SlotIdentity | None, token: str) -> Outcome:
        if row.flipped_epoch == command.epoch and row.online.release != command.release:
            return member._begin(row, Load(other(row.active), token, command.epoch, command.rollout_id))
        return stage_rows(row, command, target, token)

    stage_rows = member.stage
    patch.setattr(protocol, "decide", eager)
    patch.setattr(member, "stage", stage)


def _revert_goes_by_what_is_shown(patch: pytest.MonkeyPatch) -> None:
    def revert(row: MemberRow, command: Revert) -> Outcome:
        if row.online.release != 1:
            return Outcome(row, Reply(ReplyKind.REVERTED))
        back = {"active": other(row.active), "flipped_epoch": None, "staged_epoch": None, "staged_slot": None}
        return Outcome(row.model_copy(update=back), Reply(ReplyKind.REVERTED))

    patch.setattr(member, "revert", revert)


def _flip_moves_to_the_other_slot(patch: pytest.MonkeyPatch) -> None:
    def flip(row: MemberRow, command: Flip, now: datetime) -> Outcome:
        if row.flipped_epoch == command.epoch or row.staged_epoch != command.epoch:
            return flip_rows(row, command, now)
        moved = {"active": other(row.active), "back_slot": row.active, "flipped_epoch": command.epoch}
        moved |= {"staged_epoch": None, "staged_slot": None}
        return Outcome(row.model_copy(update=moved), Reply(ReplyKind.FLIPPED))

    flip_rows = member.flip
    patch.setattr(member, "flip", flip)


def _nothing(patch: pytest.MonkeyPatch) -> None:
    """What is broken lies in the world: see the bounds."""


def _duplicates_are_not_answered(patch: pytest.MonkeyPatch) -> None:
    answer = member.answer

    def terse(row: MemberRow, command: Command, **given: Any) -> Outcome:
        done = answer(row, command, **given)
        swallowed = done.row == row and isinstance(done.action, Reply) and not isinstance(command, Abandon)
        return Outcome(row, Reply(ReplyKind.REFUSED, RefusalReason.RETRYABLE)) if swallowed else done

    patch.setattr(member, "answer", terse)


def _stage_does_not_name_reverted_epochs(patch: pytest.MonkeyPatch) -> None:
    def stage(state: Environment, rollout: Any, name: str) -> Stage:
        return replace(whole(state, rollout, name), void=())

    whole = step.stage
    for module in (staging, flipping, membership, protocol.queueing):
        patch.setattr(module, "stage", stage)


def _joins_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    def conclude(now: Step) -> Step:
        for name, known in now.state.members.items():
            joins = known.requirement is Requirement.JOINING and known.shows == now.state.shown
            if joins and now.state.active is None:
                now = now.member(name, requirement=known.configured)
        return now

    patch.setattr(membership, "conclude", conclude)


def _the_ledger_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(happenings, "_is_ahead", lambda state, report: False)


def _an_epoch_is_an_identity(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(happenings, "is_of", lambda rollout, report: rollout is not None and rollout.epoch == report.epoch)


def _no_leap_and_no_reissue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "LEAP", 0)
    patch.setitem(protocol.TABLE, (Happening.AHEAD, Phase.REVERTING), Cell(protocol.ignore))


_ALONE = {"required": ("a",), "deadlines": False}
_TORN_BESIDE_THE_TARGET = _small(
    required=("a",), optional=("b",), start={"b": 1}, wishes=((Cause.OPERATOR, 2), (Cause.OPERATOR, 1)), epochs=3
)

MUTANTS = (
    Mutant("V1 a revert has no epoch of its own", "S2", _revert_under_the_same_epoch, _small()),
    Mutant("V2 the floor stays where nothing is reverted", "S2", _floor_stays_where_nothing_is_reverted, _small()),
    Mutant("V3 a revert gives up waiting", "S2", _revert_gives_up_waiting, _small()),
    Mutant("V4 an abandon after the decision", "S2", _abandon_after_the_decision, _small()),
    Mutant("V5 two coordinators without a lock", "S2", _nothing, _small(racing_coordinators=True, loaded=True)),
    Mutant("V6 a flip swaps", "S5", _flip_is_swap, _small()),
    Mutant("V7 a stage after the flip loads", "S5", _stage_after_flip, _small()),
    Mutant("V8 a stage again loads again", "S4", _stage_reloads_and_flip_trusts_the_mark, _small()),
    Mutant("V9 a load is not fenced", "S4", _load_is_not_fenced, _small(wishes=DEPLOY_2, loaders=2, **_ALONE)),
    Mutant("V10 a load is fenced by its epoch alone", "S4", _fenced_by_epoch_alone, _small(loaders=2, **_ALONE)),
    Mutant("V11 there is no floor", "S3", _no_floor, _small(wishes=DEPLOY_2)),
    Mutant(
        "V12 reports have no epoch",
        "S1",
        _reports_without_epoch,
        _small(wishes=DEPLOY_2, aborts=False, deadlines=False),
    ),
    Mutant("V13 the next release is staged while flipping", "S5", _pipelining, _small()),
    Mutant(
        "V14 a revert goes by what is shown", "S4", _revert_goes_by_what_is_shown, _TORN_BESIDE_THE_TARGET, prune=True
    ),
    Mutant(
        "V15 a flip moves to the other slot", "S8", _flip_moves_to_the_other_slot, _TORN_BESIDE_THE_TARGET, prune=True
    ),
    Mutant("V16 a timer flips by itself", "S2", _nothing, _small(blind_timers=True)),
    Mutant("V17 what is repeated is not answered", "liveness", _duplicates_are_not_answered, _small()),
    Mutant(
        "V18 a stage does not name reverted epochs",
        "S7",
        _stage_does_not_name_reverted_epochs,
        _small(required=("a",), optional=("b",), wishes=DEPLOY_2, epochs=3, deadlines=False, loaded=True),
        prune=True,
    ),
    Mutant(
        "V19 a member joins without a fence",
        "S2",
        _joins_without_a_fence,
        _small(detaches=("a",), greetings=True, deadlines=False, loaded=True),
        prune=True,
    ),
    Mutant("V20a a restored ledger is believed", "S2", _the_ledger_is_believed, restores.forgotten_decision),
    Mutant("V20b an epoch alone is an identity", "S1", _an_epoch_is_an_identity, restores.reused_epoch),
    Mutant("V21 no leap, and no revert anew", "liveness", _no_leap_and_no_reissue, restores.forgotten_epochs),
    Mutant("V22 a member settles by itself", "S5", _nothing, _small(member_timers=True)),
)


def main() -> None:
    """Prints what finds each rule that is switched off, and how."""
    for mutant in MUTANTS:
        with pytest.MonkeyPatch.context() as patch:
            mutant.patch(patch)
            try:
                mutant.look()
            except Violation as found:
                what, *steps = str(found).splitlines()
        by = "walk" if isinstance(mutant.where, Bounds) else mutant.where.__name__
        rule, _, name = mutant.name.partition(" ")
        print(f"| {rule} | {name} | {by} | {what} | {_in_a_line(steps)} |")


def _in_a_line(steps: list[str]) -> str:
    line = " → ".join(steps)
    for long, short in _SHORTER:
        line = re.sub(long, short, line)
    return line


_SHORTER = (
    (r"stage (e\d+) for (\w)(?: → \2 writes for epoch \d+ → \2 commits its load for epoch \d+)? → staged \1 of \2",
     r"\2 stages \1"),
    (r"(flip|revert) (e\d+) for (\w)(?: → \1t?ed \2 of \3)?", r"\3 \1s \2"),
)  # fmt: skip


if __name__ == "__main__":
    main()
