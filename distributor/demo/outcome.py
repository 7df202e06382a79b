"""What the demo ends with: figures, every system beside the master, and whether each claim held."""

from __future__ import annotations

from rich.console import Console

from distributor.cli.layout import grid, hanging
from distributor.cli.outcome import Outcome
from distributor.views.base import View


class SystemLine(View):
    """One system as its own users read it at the end."""

    environment: str
    """The environment."""
    name: str
    """The system."""
    adapter: str
    """What knows its store."""
    release: int
    """The release that it shows."""
    rows: int
    """Rows of all its tables, as read."""
    differences: tuple[str, ...]
    """One sentence for each table that is not the master's; empty when every row is equal."""
    reads: int
    """Reads of its reader loop during the whole run."""
    reader_errors: int
    """How many of them failed."""
    slowest_read_ms: float
    """The slowest of them."""


class Claim(View):
    """One thing that the demo set out to show."""

    text: str
    """What should hold."""
    held: bool
    """Whether it did."""
    found: str
    """What was found."""


class Kept(View):
    """How to reach what was left running."""

    pid: int
    """The process that holds all of it: end it with `kill`, and everything stops and is deleted."""
    config: str
    """The config file, for every other verb."""
    master: str
    """URL of the master."""
    ledger: str
    """URL of the ledger."""
    systems: dict[str, str]
    """`ENV.SYSTEM` → URL."""
    page: str
    """Where its pages and its HTTP API are."""
    key: str
    """The key to log in with."""


class DemoOutcome(Outcome):
    """The whole run. `ok` is true only if every claim held."""

    ok: bool
    """Whether all claims held."""
    systems: tuple[SystemLine, ...]
    """The systems of `prod`."""
    uat: tuple[SystemLine, ...]
    """The systems of `uat`."""
    products: int
    """Size of the catalogue, in products."""
    changed_rows: int
    """Rows of the change that was carried to all systems, over all datasets."""
    change_to_everywhere_ms: float
    """From the commit on the master to the last system's flip."""
    skew_ms: float
    """From the first system's flip to the last one's, the worse of the two rollouts."""
    full_refresh_ms: float
    """One full refresh of one system, the old way: every row copied into new tables with their indexes."""
    full_refresh_system: str
    """Which system that was."""
    reader_errors: int
    """Failed reads, over all systems and the whole run."""
    torn_reads: int
    """Reads that saw pieces of two releases in one snapshot."""
    waited_for: tuple[str, ...]
    """The systems that a rollout waited for while nobody flipped."""
    mixed_seen: int
    """Reads that found two systems settled on different releases."""
    settled_reads: int
    """How often all systems were read together while the environment was settled."""
    claims: tuple[Claim, ...]
    """What was to be shown."""
    seconds: float
    """The whole run, servers included."""
    kept: Kept | None = None
    """How to reach the estate that was left running; null when everything was stopped."""

    @property
    def exit_code(self) -> int:
        """0 only if all of it held."""
        return 0 if self.ok else 1

    def show(self, console: Console) -> None:
        """The systems, the figures, the claims."""
        systems = grid(
            "environment", "system", "store", ">release", ">rows", "beside the master", ">reads", ">errors", ">slowest"
        )
        for line in (*self.systems, *self.uat):
            systems.add_row(
                line.environment,
                line.name,
                line.adapter,
                str(line.release),
                f"{line.rows:,}",
                "; ".join(line.differences) or "every row equal",
                f"{line.reads:,}",
                str(line.reader_errors),
                f"{line.slowest_read_ms:.0f} ms",
            )
        console.print(systems)
        figures = grid("figure", ">value", "")
        for figure in self._figures():
            figures.add_row(*figure)
        console.print(figures)
        claims = hanging()
        for claim in self.claims:
            claims.add_row("held" if claim.held else "FAILED", f"{claim.text}: {claim.found}")
        console.print(claims)
        console.print(f"\n{'All of it held' if self.ok else 'Not all of it held'}, in {self.seconds:.1f} s.")
        if self.kept:
            console.print(f"\nIt is still running. Try:  distributor status --config {self.kept.config}")
            for name, url in {"master": self.kept.master, "ledger": self.kept.ledger, **self.kept.systems}.items():
                console.print(f"  {name:<16} {url}")
            console.print(f"Its page:  {self.kept.page}  (log in with {self.kept.key})")
            console.print(f"Stop it and delete it with:  kill {self.kept.pid}")

    def _figures(self) -> tuple[tuple[str, str, str], ...]:
        systems = len(self.systems)
        beside = self.full_refresh_ms * systems / self.change_to_everywhere_ms if self.change_to_everywhere_ms else 0
        change = f"{self.changed_rows:,} rows, {systems} systems"
        reads = f"{sum(line.reads for line in (*self.systems, *self.uat)):,} reads"
        return (
            ("change to everywhere", f"{self.change_to_everywhere_ms:,.0f} ms", change),
            ("full refresh", f"{self.full_refresh_ms:,.0f} ms", f"{self.full_refresh_system} alone, every row"),
            ("delta beside full", f"{beside:,.0f}×", f"that refresh for {systems} systems in turn, beside the delta"),
            ("skew", f"{self.skew_ms:.1f} ms", "first flip to last, the worst rollout"),
            ("reader errors", str(self.reader_errors), reads),
            ("torn reads", str(self.torn_reads), "two releases in one snapshot"),
            ("mixed", str(self.mixed_seen), f"settled on different releases, in {self.settled_reads:,} looks at all"),
        )
