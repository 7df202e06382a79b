"""`audit`: who did what, when and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import Limit
from distributor.cli.outcome import Outcome
from distributor.errors import UsageError
from distributor.views.audit import Acts
from distributor.views.audit import audit as newest
from distributor.views.seals import SealDifference, Seals, seals
from distributor.views.wording import SHORT, count, plain, stamp

_ID = re.compile(r"[0-9a-f]{32}")
DIFFERENCES = 10


class ShownActs(Acts, Outcome):
    """What was done, newest first."""

    seals: Seals | None = None
    """What `--verify` found, which lists no acts; null without it."""

    @property
    def exit_code(self) -> int:
        """10 when the audit is not as it was sealed."""
        return DIFFERENCES if self.seals and self.seals.found else 0

    def show(self, console: Console) -> None:
        """What was verified, else a table, newest first."""
        if self.seals:
            console.print("\n".join(_verified(self.seals)))
            return
        table = grid("when (UTC)", "who", "what", "environment", "of", "why")
        for act in self.audit:
            table.add_row(stamp(act.at), act.who, act.what, act.environment or "-", _of(act.detail or {}), act.why)
        console.print(table if self.audit else "nothing has been done yet")


def _verified(seals: Seals) -> Iterator[str]:
    if seals.found:
        yield f"THE AUDIT IS NOT AS IT WAS SEALED: {count(seals.found, 'difference')} in {count(seals.rows, 'row')}"
        yield from (f"  {_name(difference)}: {difference.what}" for difference in seals.differences)
        if (more := seals.found - len(seals.differences)) > 0:
            yield f"  … and {more:,} more"
    else:
        noted = ", and the noted head is among them" if seals.expected else ""
        yield f"{count(seals.rows, 'row')} as they were sealed{noted}"
    yield f"head: {seals.head or '-'}"


def _name(difference: SealDifference) -> str:
    number = "" if difference.seq is None else f"number {difference.seq:,}"
    row = "" if difference.audit_id is None else f"row {difference.audit_id}"
    return ", ".join(part for part in (number, row) if part) or "the noted head"


def _of(detail: dict[str, Any]) -> str:
    first = {"release": detail.get("release"), "rollout": str(detail.get("rollout") or "")[:SHORT]}
    told = {**first, **{name: value for name, value in detail.items() if name not in first}}
    return (
        ", ".join(f"{name} {plain(_text(value))}" for name, value in told.items() if value not in (None, "", [])) or "-"
    )


def _text(value: object) -> str:
    if isinstance(value, list):
        return " and ".join(map(str, value))
    text = str(value)
    return text[:SHORT] if _ID.fullmatch(text) else text


def audit(
    desk: Desk,
    environment: Annotated[
        str | None, typer.Option("--environment", metavar="ENV", help="Only what concerns this environment.")
    ] = None,
    limit: Limit = 50,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every row against its seal; exit code 10 when one differs.")
    ] = False,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="HEAD", help="--verify: a head noted formerly, which must still be there."),
    ] = None,
) -> ShownActs:
    """Show who did what, when and why; or verify that nobody has altered it since.

    Every row is sealed together with the one before it when it is committed. `--verify` computes all seals anew and
    names what does not fit. Only a head that was noted elsewhere proves that nothing was taken from the end and that
    nobody has sealed everything anew: docs/audit.md.
    """
    if environment is not None:
        desk.known_environment(environment)
    if expect is not None and not verify:
        raise UsageError("--expect belongs to --verify", where="audit")
    with desk.reading() as conn:
        if verify:
            return ShownActs(audit=(), seals=seals(conn, expect))
        return ShownActs.of(newest(conn, environment, limit=limit))
