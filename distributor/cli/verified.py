"""What `verify` ends with, as a person sees it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from distributor.cli.asking import ShownRequest
from distributor.cli.layout import grid
from distributor.cli.outcome import Outcome
from distributor.errors import HeldError, NotConvergedError
from distributor.views.verified import LISTED, Mending, Verified, VerifiedTable
from distributor.views.wording import count, plain

DONE, FAILED, DIFFERENT = 0, 1, 10
BUCKETS = 64
SHOWN = 20
"""How many wrong rows of a table are named to a person."""
_UNVERIFIED = {
    "failed": FAILED,
    "unfit": FAILED,
    "moved": HeldError.exit_code,
    "silent": NotConvergedError.exit_code,
}
"""Outcome → exit code, the worst first."""
_NOT_MENDED: dict[Mending | None, int] = {
    "failed": FAILED,
    "late": NotConvergedError.exit_code,
    "left-out": DIFFERENT,
    "planned": DIFFERENT,
    None: DIFFERENT,
}
"""What became of a system that differs → exit code, the worst first."""


class ShownVerified(Verified, Outcome):
    """An audit of everything that the systems of an environment store, compared with what their releases say."""

    @property
    def exit_code(self) -> int:
        """The rollout's, if it did not end well; then: not mended, differences left, not verified, done."""
        if self.repair and (code := ShownRequest.of(self.repair).exit_code):
            return code
        left = {system.mending for system in self.systems if system.differing and not system.mended}
        if left:
            return next(code for mending, code in _NOT_MENDED.items() if mending in left)
        outcomes = {system.outcome for system in self.systems}
        return next((code for outcome, code in _UNVERIFIED.items() if outcome in outcomes), DONE)

    def show(self, console: Console) -> None:
        """A line per table, the wrong rows, who could not be verified, what was mended."""
        console.print(f"{self.environment}: {self.level} at release {self.release}")
        table = grid("system", "slot", "table", ">release", ">rows", ">expected", ">buckets", ">wrong rows")
        for system in self.systems:
            for part in system.tables:
                table.add_row(
                    system.system + ("" if system.required else " (optional)"),
                    part.slot,
                    part.table,
                    str(part.release),
                    f"{part.rows_stored:,}",
                    f"{part.rows_expected:,}",
                    f"{len(part.buckets)} of {BUCKETS}" if part.buckets else "-",
                    "-" if not part.buckets else "many" if part.rows_wrong is None else f"{part.rows_wrong:,}",
                )
        if table.row_count:
            console.print(table)
        for line in self._lines():
            console.print(line, soft_wrap=True)
        if self.repair:
            ShownRequest.of(self.repair).show(console)

    def _lines(self) -> Iterator[str]:
        for system in self.systems:
            for table in system.differing:
                yield from _wrong(system.system, table)
        for system in self.systems:
            if system.outcome != "verified":
                yield f"{system.system} was not verified: {system.why}"
        for system in self.systems:
            if system.remedy:
                yield f"{system.system}: {system.remedy}"
        verified = [system.system for system in self.systems if system.outcome == "verified" and not system.differing]
        for name in self.detached:
            yield f"{name} is detached: not audited"
        if verified:
            yield f"{', '.join(verified)}: every row is as the release has it"
        if any(system.differing and not system.remedy for system in self.systems):
            yield f"`distributor verify {self.environment} --repair` mends exactly these rows"


def _wrong(system: str, table: VerifiedTable) -> Iterator[str]:
    where = f"{system}, {table.slot} {table.table}"
    if table.rows_wrong is None:
        yield f"{where}: too many rows differ from release {table.release} to name them"
        return
    differ = "row differs" if table.rows_wrong == 1 else "rows differ"
    yield f"{where}: {table.rows_wrong:,} {differ} from release {table.release}"
    for row in table.rows[:SHOWN]:
        key = ", ".join(f"{name}={'NULL' if text is None else plain(text)}" for name, text in row.key.items())
        yield f"  {row.what:9} {key}"
    if more := table.rows_wrong - min(SHOWN, len(table.rows)):
        yield f"  and {count(more, 'more row')}; `--json` lists up to {LISTED:,}"
