"""`compact [--release N]`: a base of a release, so that nobody who starts from nothing starts at release 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.options import MOST_RELEASE, DryRun
from distributor.cli.outcome import Outcome
from distributor.errors import RefusedError
from distributor.views.wording import count

if TYPE_CHECKING:
    from distributor.store.chain import Chain


class Compacted(Outcome):
    """A base, and what it was made of."""

    release: int
    """The release that it is of."""
    base: str | None
    """sha256 of the base in the store; null with `--dry-run` while there is none."""
    already: bool
    """Whether it lay there, whole: then nothing was done."""
    rows: int | None
    """How many rows it has; null with `--dry-run` while there is none."""
    chunks: int | None
    """In how many chunks; null with `--dry-run` while there is none."""
    bytes: int | None
    """How many octets they take; null with `--dry-run` while there is none."""
    since: int
    """The release whose base it was made of; 0: there was none."""
    releases: int
    """How many releases have come since then, up to this one."""
    read: int
    """How many rows there were to read, those of that base among them."""
    dry_run: bool
    """Whether nothing was made because of `--dry-run`."""

    def show(self, console: Console) -> None:
        """One line of what there is now, and one of what it was made of."""
        if self.already:
            console.print(f"release {self.release} has a base: {self._size}")
            return
        start = f"the base of release {self.since}" if self.since else "release 0"
        way = f"{start} and {count(self.releases, 'release')} since: {count(self.read, 'row')}"
        if self.dry_run:
            console.print(f"a base of release {self.release} would be made of {way}")
        else:
            console.print(f"base of release {self.release}: {self._size}; made of {way}")

    @property
    def _size(self) -> str:
        return f"{count(self.rows or 0, 'row')} in {count(self.chunks or 0, 'chunk')}, {(self.bytes or 0) / 1e6:.1f} MB"


def compact(
    desk: Desk,
    release: Annotated[
        int | None,
        typer.Option("--release", metavar="N", min=1, max=MOST_RELEASE, help="Which release; default: the newest."),
    ] = None,
    dry_run: DryRun = False,
) -> Compacted:
    """Make a base of a release: all of its rows in the store, for whoever starts from nothing.

    A publisher (`serve publisher`) does the same by itself when the last one is old: see `compact_after` and
    `compact_growth` in the config. A base is made of the store alone, and proved against the release's certificate.
    One that is damaged is made anew.
    """
    from distributor.ledger import releases
    from distributor.store.bases import base_of, whole
    from distributor.store.ways import BASE, Ways, read_base
    from distributor.upkeep.collected import hold_on_to
    from distributor.upkeep.compaction import Due, editions_due

    with desk.reading() as conn:
        newest = releases.head(conn)
        if newest is None:
            raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
        record = newest if release is None else releases.release(conn, release)
        hold_on_to(conn, desk.store, record.number)
    if dry_run:
        held = read_base(desk.store, record.manifest)
        if held is None or not whole(desk.store, held.chunks):
            way = Ways(desk.store, record.manifest, record.number).anew(without=record.manifest)
            return Compacted(release=record.number, base=None, already=False, rows=None, chunks=None, bytes=None,
                             dry_run=True, **_way(way))  # fmt: skip
    with desk.reading() as conn:
        masked = editions_due(conn, desk.settings, Due(record.number, record.manifest, ""))
    with _heard(desk) as hear:
        made = base_of(desk.store, record.number, record.manifest, hear)
        for version, due in masked.items():
            base_of(desk.store.edition(version), due.release, due.manifest, hear)
    if not made.already and not dry_run:
        desk.note("compact", release=record.number, rows=made.base.rows)
    return Compacted(
        release=record.number,
        base=desk.store.linked(BASE, record.manifest),
        already=made.already,
        rows=made.base.rows,
        chunks=len(made.base.chunks),
        bytes=sum(chunk.bytes for chunk in made.base.chunks),
        dry_run=dry_run,
        **_way(made.way),
    )


def _way(chain: Chain) -> dict[str, int]:
    from distributor.model.manifest import Base

    since = next((step.manifest.release for step in chain.steps if isinstance(step.manifest, Base)), 0)
    return {"since": since, "releases": len(chain.steps) - (since > 0), "read": chain.rows}


@contextmanager
def _heard(desk: Desk) -> Iterator[Callable[[str, int], None]]:
    if not desk.notes.is_terminal:
        yield lambda _dataset, _rows: None
        return
    with desk.notes.status("composing changesets") as status:
        yield lambda dataset, rows: status.update(f"{dataset}: {count(rows, 'row')}")
