"""How environments stand: what `status` ends with."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console

from distributor.cli.environments import EnvironmentStatus, sentences
from distributor.cli.layout import ago, count, grid, span, stamp
from distributor.cli.members import MemberStatus
from distributor.cli.outcome import Outcome, Part
from distributor.cli.presence import CoordinatorWord
from distributor.rollout.state import Requirement


class TroublePart(Part):
    """A process that is up cannot do its work."""

    since: datetime
    """Since when, in UTC."""
    why: str
    """What stops it, and how to mend it."""


class Status(Outcome):
    """How the environments stand."""

    at: datetime
    """The time at which this was read, in UTC."""
    newest_release: int
    """The newest release; 0 when there is none yet."""
    coordinator: CoordinatorWord
    """Whether a coordinator is at work; `silent`: it should be, and was not heard of lately."""
    coordinator_seen_at: datetime | None
    """When a coordinator was last up; null when none was ever heard of."""
    coordinator_trouble: TroublePart | None
    """Why the coordinators that are up can do nothing, such as a broker that is away; null when one can."""
    publishing_stopped: TroublePart | None
    """Why the publisher that is up cannot publish; null when it can, or none is up."""
    dead_letters: int
    """How many dead letters wait for somebody."""
    environments: tuple[EnvironmentStatus, ...]
    """The environments."""

    def show(self, console: Console) -> None:
        """A table of all members, then what deserves a sentence."""
        table = grid("environment", "system", ">release", "state", ">shadow", "behind", "heard")
        for environment in self.environments:
            for number, member in enumerate(environment.members):
                late = self.at - member.behind_since if member.behind_since else None
                table.add_row(
                    environment.environment if number == 0 else "",
                    member.system + ("" if member.requirement is Requirement.REQUIRED else f" ({member.requirement})"),
                    str(member.release),
                    _doing(member),
                    _slot(member),
                    f"{count(member.behind, 'release')}, {span(late)}" if late else "-",
                    _heard(member, self.at),
                )
        console.print(table)
        for environment in self.environments:
            for sentence in sentences(environment):
                # A command is copied: only the terminal itself may wrap it.
                console.print(
                    f"{environment.environment}: {sentence.removeprefix(f'{environment.environment} ')}", soft_wrap=True
                )
        console.print(f"newest release: {self.newest_release or 'none yet'}")
        seen = f", last seen {ago(self.coordinator_seen_at, self.at)}" if self.coordinator_seen_at else ""
        console.print(f"coordinator: {_COORDINATORS[self.coordinator]}{seen}")
        if cut_off := self.coordinator_trouble:
            console.print(f"the coordinator can do nothing since {stamp(cut_off.since)} UTC because {cut_off.why}")
        if stopped := self.publishing_stopped:
            console.print(f"publishing is stopped since {stamp(stopped.since)} UTC because {stopped.why}")
        if self.dead_letters:
            console.print(f"{count(self.dead_letters, 'dead letter')}: see `distributor deadletter list`")


_COORDINATORS = {
    "up": "up",
    "silent": "not heard of lately",
    "stopped": "none is running",
    "unheard": "none was ever started",
}


def _heard(member: MemberStatus, at: datetime) -> str:
    return ago(member.heard_at, at) + (" (silent)" if member.contact == "silent" else "")


def _doing(member: MemberStatus) -> str:
    if member.load is None:
        return f"{member.state}, altered" if member.altered else member.state
    return f"stalled: {member.load.sentence}" if member.state == "stalled" else member.load.sentence


def _slot(member: MemberStatus) -> str:
    if member.shadow is not None:
        return str(member.shadow)
    return "torn" if member.heard_at else "-"
