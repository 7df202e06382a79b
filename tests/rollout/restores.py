"""What a ledger that was restored from a backup must not do. Each scenario ends well, or raises Violation."""

from __future__ import annotations

from collections.abc import Callable

from distributor.rollout.commands import Flip, Revert, Stage
from distributor.rollout.events import Aborted
from distributor.rollout.state import RolloutState
from tests.rollout.transcript import Transcript
from tests.rollout.world import Violation

Scenario = Callable[[], None]


def forgotten_decision() -> None:
    """Decided; a flipped, the flip of b still waits; the ledger is restored from before, and a greets."""
    world = Transcript.of()
    backup = world.state
    world.decided(1)
    queued = world.last(Flip, "b")
    world.do(world.last(Flip, "a"))
    world.state, sent = backup, len(world.sent)
    world.hello("a")
    _answer_fences(world, sent)
    world.do(queued)
    for name, row in world.rows.items():
        if not world.state.blocked and row.online.release != world.state.shown:
            trace = "b stages e1\na flips e1\nthe ledger is restored\nhello of a\nb flips e1"
            raise Violation(f"S2: {name} shows {row.online.release}, the environment {world.state.shown}\n{trace}")


def reused_epoch() -> None:
    """Staged by everybody; the ledger is restored from before, and hands epoch 1 out again."""
    world = Transcript.of()
    backup = world.state
    world.request(1)
    world.tick()
    old = [world.answer(world.last(Stage, name)) for name in "ab"]
    world.state = backup
    world.request(1)
    world.tick()
    for report in old:
        world.feed(report)
    if world.active is not RolloutState.STAGING:
        trace = "a stages e1\nb stages e1\nthe ledger is restored\nrequest 2\ntick\nstaged e1 of a\nstaged e1 of b"
        raise Violation(f"S1: {world.active}, and nobody has staged for this rollout\n{trace}")


def forgotten_epochs() -> None:
    """The stages of four rollouts lie in a queue when the ledger is restored; one has the number of a revert to be."""
    world = Transcript.of()
    backup = world.state
    for release in (1, 2, 3, 4):
        world.request(release)
        world.tick()
        world.feed(Aborted(world.now, "ann", "", world.fresh()))
    forgotten = {
        command.epoch: command for command in world.sent if isinstance(command, Stage) and command.member == "a"
    }
    world.receive(forgotten[1])
    world.state, sent = backup, len(world.sent)
    world.hello("a")
    _answer_fences(world, sent)
    world.decided(5)
    world.do(world.last(Flip, "b"))
    world.tick(hours=1)
    revert = world.last(Revert, "a")
    world.receive(forgotten.get(revert.epoch, forgotten[4]))
    for _ in range(9):
        for name in "ab":
            world.do(world.last(Revert, name))
        world.tick(seconds=6)
    if world.active:
        trace = f"b flips\nall deadlines pass\nstage e{revert.epoch} for a, forgotten\nrevert e{revert.epoch} for a"
        raise Violation(f"liveness: the environment is still {world.active}\nthe ledger is restored\n{trace}")


def _answer_fences(world: Transcript, sent: int) -> None:
    """The hello round, if there is one: every member answers what it was sent since."""
    for command in world.sent[sent:]:
        world.do(command)


SCENARIOS: tuple[Scenario, ...] = (forgotten_decision, reused_epoch, forgotten_epochs)
