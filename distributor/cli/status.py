"""`status`: the matrix environment × system."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.outcome import Outcome
from distributor.rollout.state import Requirement
from distributor.views.environments import sentences
from distributor.views.members import MemberStatus
from distributor.views.status import Status, look
from distributor.views.wording import ago, count, span, stamp


class ShownStatus(Status, Outcome):
    """How the environments stand."""

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


def status(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Argument(metavar="[ENV]", help="Only this environment.", show_default=False)
    ] = None,
) -> ShownStatus:
    """Show which release every system of every environment shows, and what is waited for.

    It asks the ledger alone, so it also answers while systems are down.
    """
    names = [desk.known_environment(environment)] if environment else sorted(desk.settings.environments)
    with desk.reading() as conn:
        return ShownStatus.of(look(conn, desk.settings, names))
