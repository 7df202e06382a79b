"""`init`: the config file and the ledger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.options import DryRun
from distributor.cli.outcome import Outcome
from distributor.cli.template import Places, worked_example
from distributor.errors import DistributorError, UnreachableError
from distributor.settings.load import DEFAULT_FILE


class Initialised(Outcome):
    """What `init` found and made."""

    config: str
    """Path of the config file."""
    config_written: bool
    """Whether it was written now; an existing file is never changed."""
    ledger: Literal["created", "migrated", "current", "unreachable", "outdated", "missing"]
    """What became of the ledger. With `--dry-run`: `missing` or `outdated` where it would be created or migrated."""
    ledger_version: str | None
    """The version of the ledger's tables; null when there are none."""
    problem: str | None
    """Why there is no usable ledger, and how to mend it; null when there is one."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""

    @property
    def exit_code(self) -> int:
        """1 when the ledger of an existing config cannot be made; a fresh example has yet to be filled in."""
        return 1 if self.problem and not self.config_written and not self.dry_run else 0

    def show(self, console: Console) -> None:
        """What was made, and what to do next."""
        would = "would be " if self.dry_run else ""
        told = f"{would}written" if self.config_written else "exists already and was not changed"
        console.print(f"config  {self.config} {told}")
        console.print(f"ledger  {self.ledger}" + (f", version {self.ledger_version}" if self.ledger_version else ""))
        if self.problem:
            console.print(self.problem)
        if self.config_written:
            console.print("next: fill in the config file, then `distributor check`")


def init(
    desk: Desk,
    master_url: Annotated[str | None, typer.Option(metavar="URL", help="The master, written into the file.")] = None,
    ledger_url: Annotated[str | None, typer.Option(metavar="URL", help="The ledger, written into the file.")] = None,
    broker_url: Annotated[str | None, typer.Option(metavar="URL", help="RabbitMQ, written into the file.")] = None,
    store: Annotated[str | None, typer.Option(metavar="DIR", help="The store, written into the file.")] = None,
    dry_run: DryRun = False,
) -> Initialised:
    """Write a commented distributor.toml, and create or migrate the ledger.

    An existing file is never changed: with one, `init` only brings the ledger up to date. Running it again is harmless.
    """
    path = desk.config or Path(os.environ.get("DISTRIBUTOR_CONFIG", DEFAULT_FILE))  # noqa: TID251
    written = not path.exists()
    if written:
        given = {"master": master_url, "ledger": ledger_url, "broker": broker_url, "store": store}
        places = Places(**{name: value for name, value in given.items() if value})
        if not dry_run:
            _write(path, worked_example(places))
        url = places.ledger
    else:
        url = desk.settings.ledger.url
    ledger, version, problem = _look(url) if dry_run else _make(url)
    if ledger in ("created", "migrated"):
        desk.note("init", ledger=f"{ledger}, version {version}")
    return Initialised(
        config=str(path),
        config_written=written,
        ledger=ledger,
        ledger_version=version,
        problem=problem,
        dry_run=dry_run,
    )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)  # it may come to hold passwords
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DistributorError(f"the config file cannot be written: {error.strerror}", where=str(path)) from error


_Ledger = tuple[Literal["created", "migrated", "current", "unreachable", "outdated", "missing"], str | None, str | None]


def _make(url: str) -> _Ledger:
    from distributor.cli.ledger_database import ensure_database
    from distributor.ledger import migrate

    try:
        ensure_database(url)
        before = migrate.current(url)
        after = migrate.upgrade(url)
    except UnreachableError as error:
        return "unreachable", None, str(error)
    return ("created" if before is None else "current" if before == after else "migrated"), after, None


def _look(url: str) -> _Ledger:
    from distributor.cli.ledger_database import database_exists
    from distributor.ledger import migrate

    try:
        version = migrate.current(url) if database_exists(url) else None
    except UnreachableError as error:
        return "unreachable", None, str(error)
    if version is None:
        return "missing", None, None
    return ("current" if version == migrate.head_revision() else "outdated"), version, None
