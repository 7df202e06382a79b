"""`gc`: what nobody needs any more is deleted from the store."""

from __future__ import annotations

from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.options import DryRun
from distributor.cli.outcome import Outcome
from distributor.telemetry.clock import now
from distributor.views.wording import count


class Collection(Outcome):
    """What was deleted, and what is left."""

    dry_run: bool
    """Whether nothing was deleted because of `--dry-run`: then the counts say what would be."""
    releases: int
    """How many releases are gone from the store; their rows in the ledger stay."""
    objects: int
    """How many objects were deleted: manifests, chunks, bases and repair lists."""
    bytes: int
    """How many octets they took."""
    bases: int
    """How many bases lost their name, as those of releases that are gone."""
    leftovers: int
    """Files that writers which died have left."""
    young: int
    """Objects that nobody is known to need, left alone for as long as `store.grace` says."""
    oldest: int | None
    """The oldest release that can be had; null as long as there is none."""
    needed: int | None
    """The oldest release that somebody needs; null as long as there is none."""
    needed_by: str
    """Who needs it, in a sentence."""
    on_base: bool
    """Whether the oldest release stands on a base; if not, on release 0."""

    def show(self, console: Console) -> None:
        """What became of the store, and what holds back the rest."""
        verb = "would be deleted" if self.dry_run else "deleted"
        gone = f", of {count(self.releases, 'release')}" if self.releases else ""
        console.print(f"{verb}: {count(self.objects, 'object')}, {self.bytes / 1e6:.1f} MB{gone}")
        if self.leftovers:
            console.print(f"{verb}: {count(self.leftovers, 'file')} that writers left which died")
        if self.young:
            console.print(f"left alone: {count(self.young, 'object')} that were put only lately")
        if self.oldest is None:
            console.print("there is no release yet")
            return
        stands = "its base" if self.on_base else "release 0"
        console.print(f"the oldest release that can be had is {self.oldest}, from {stands} on")
        console.print(f"release {self.needed} is needed: {self.needed_by}")
        if self.needed is not None and self.oldest < self.needed:
            console.print(
                f"`distributor compact --release {self.needed}` makes a base of it: then the next gc deletes what lies"
                " before",
                soft_wrap=True,
            )


def gc(desk: Desk, dry_run: DryRun = False) -> Collection:
    """Delete from the store what nobody needs any more.

    Kept is what an environment shows, showed before or is being taken to, what its members hold, what was published or
    shown within `keep`, what a verification or a repair needs, and everything newer than the oldest of these; what was
    written within `grace` is left alone. Older releases go only where a base stands between them and what is kept, and
    only once it is proved that every kept release can be had from it. It may run beside everything else.
    """
    from distributor.upkeep.collection import collect
    from distributor.upkeep.editions import collect_editions

    with desk.ledger() as engine:
        found = collect(engine, desk.store, desk.settings.store, now(), dry_run=dry_run, hear=desk.say)
        masked = collect_editions(engine, desk.store, desk.settings, now(), dry_run=dry_run, hear=desk.say)
    outcome = Collection(
        dry_run=dry_run,
        releases=found.releases,
        objects=found.objects + masked.objects,
        bytes=found.bytes + masked.bytes,
        bases=found.bases,
        leftovers=found.leftovers,
        young=found.young,
        oldest=found.oldest,
        needed=found.needed.release if found.needed else None,
        needed_by=found.needed.why if found.needed else "",
        on_base=found.base,
    )
    if not dry_run and (outcome.objects or found.leftovers):
        desk.note("gc", releases=found.releases, objects=outcome.objects, bytes=outcome.bytes, oldest=found.oldest)
    return outcome
