"""`rollout ID`: one rollout's timeline, and what each member did in it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.outcome import Outcome
from distributor.errors import UsageError
from distributor.views.blocking import lines
from distributor.views.rollout import RolloutStory
from distributor.views.rollout import rollout as story_of
from distributor.views.wording import span, stamp


class ShownRollout(RolloutStory, Outcome):
    """One rollout with its members and its timeline."""

    def show(self, console: Console) -> None:
        """The rollout in two lines, its members, its timeline."""
        line = self.rollout
        console.print(f"rollout {line.id}: {line.environment}, release {line.way}, {line.state.value}")
        why = f": {line.reason}" if line.reason else ""
        console.print(f"asked for by {line.by} ({line.cause}) at {stamp(line.requested_at)} UTC{why}")
        if line.outcome:
            console.print(line.outcome)
        console.print(f"took {line.took}, skew {line.skew}, epoch {line.epoch}")
        if self.waiting_for:
            console.print(f"waiting for: {self.waiting_for}", soft_wrap=True)
        for text in lines(self.blockers, loads=True):
            console.print(text, soft_wrap=True)
        members = grid("system", "required", "state", ">rows", "phases", "flipped (UTC)")
        for part in self.members:
            phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in part.phases.items())
            members.add_row(
                part.system,
                "yes" if part.required else "no",
                part.state,
                "-" if part.rows is None else f"{part.rows:,}",
                phases or "-",
                part.flipped_at.strftime("%H:%M:%S.%f")[:-3] if part.flipped_at else "-",
            )
        console.print(members)
        entries = grid("at (UTC)", ">after", "what")
        for entry in self.timeline:
            after = span(entry.at - self.timeline[0].at)
            known = entry.kind == line.state.value and entry.text == line.outcome
            text = line.state.value if known else entry.text
            entries.add_row(entry.at.strftime("%H:%M:%S.%f")[:-3], after, text)
        console.print(entries)


def rollout(
    desk: Desk,
    rollout_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id that `rollouts` shows; any unambiguous beginning of it.")
    ],
) -> ShownRollout:
    """Show one rollout: its timeline, what each member did and how long, and the skew."""
    if not rollout_id:
        raise UsageError("no rollout is named", where="ID", mend="See `distributor rollouts`.")
    with desk.reading() as conn:
        return ShownRollout.of(story_of(conn, desk.settings, rollout_id))
