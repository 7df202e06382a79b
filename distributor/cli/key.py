"""`key create|list|revoke`: keys of the HTTP API and the pages."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from distributor.access.roles import Role
from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import By, DryRun, Reason, moment, names
from distributor.cli.outcome import Outcome
from distributor.telemetry import clock
from distributor.views.keys import KeyLine, Keys, NewKey, RevokedKey
from distributor.views.keys import keys as known
from distributor.views.wording import SHORT, stamp

NEVER = "never"
_ROLES = ", ".join(Role)


class ShownKeys(Keys, Outcome):
    """Keys, by name."""

    def show(self, console: Console) -> None:
        """A table."""
        table = grid("id", "name", "role", "for", "expires (UTC)", "last used (UTC)", "made by", "")
        for key in self.keys:
            ended = "" if key.living else "revoked" if key.revoked_at else "expired"
            scope = ", ".join(key.environments) or "all"
            expires = stamp(key.expires_at) if key.expires_at else NEVER
            used = stamp(key.last_used_at)
            table.add_row(key.id[:SHORT], key.name, key.role, scope, expires, used, key.created_by, ended)
        console.print(table if self.keys else "no keys: `distributor key create` makes one")


class ShownNewKey(NewKey, Outcome):
    """A key that has just been made."""

    def show(self, console: Console) -> None:
        """The key itself, this once."""
        told = f"{self.key.name}, {self.key.role}, for {', '.join(self.key.environments) or 'all environments'}"
        if self.secret is None:
            console.print(f"would be made: {told}")
            return
        console.print(f"made: {told} (id {self.key.id[:SHORT]})")
        console.print("It is shown this once, and kept nowhere:")
        console.print(self.secret)


class ShownRevokedKey(RevokedKey, Outcome):
    """A key that has been revoked."""

    def show(self, console: Console) -> None:
        """One line."""
        console.print(f"{self.key.name} {'would be' if self.dry_run else 'is'} revoked, with every login made with it")


def create_key(
    desk: Desk,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As the audit will know whoever uses it.")],
    role: Annotated[Role, typer.Option("--role", help=f"What it is for: {_ROLES}.", show_choices=False)],
    reason: Reason,
    environments: Annotated[
        str | None,
        typer.Option("--environments", metavar="A,B", help="Only these; default: all, and what concerns none."),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help='"90d", 2027-06-30T00:00 (UTC), or "never".')
    ] = "365d",
    by: By = None,
    dry_run: DryRun = False,
) -> ShownNewKey:
    """Make a key for the HTTP API and the pages. It is shown once, and only its hash is kept."""
    from distributor.ledger.engine import transaction
    from distributor.requests import keys as requests

    scope = names(environments, "--environments")
    until = None if expires == NEVER else moment(expires, "--expires", clock.now())
    wanted = requests.WantedKey(name, role, scope, until)
    with desk.ledger() as engine:
        if dry_run:
            with transaction(engine) as conn:
                key, secret = requests.would_be(conn, desk.settings, wanted, by=by or desk.user), None
        else:
            key, secret = requests.create_key(engine, desk.settings, wanted, by=by or desk.user, reason=reason)
    return ShownNewKey(key=KeyLine.of(key), secret=secret, dry_run=dry_run)


def list_keys(
    desk: Desk,
    every: Annotated[bool, typer.Option("--all", help="Also those that were revoked.")] = False,
) -> ShownKeys:
    """List the keys: what they are for, and when they were used last. Nobody can be told the keys themselves."""
    with desk.reading() as conn:
        return ShownKeys.of(known(conn, every=every))


def revoke_key(
    desk: Desk,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, or its id or the beginning of that.")],
    reason: Reason,
    by: By = None,
    dry_run: DryRun = False,
) -> ShownRevokedKey:
    """End a key at once, and every login of the pages that was made with it."""
    from distributor.ledger.engine import transaction
    from distributor.ledger.keys import of_name
    from distributor.requests import keys as requests

    with desk.ledger() as engine:
        with transaction(engine) as conn:
            found = of_name(conn, key) or requests.key_of(conn, key)
        if not dry_run:
            found = requests.revoke_key(engine, found.id, by=by or desk.user, reason=reason)
    return ShownRevokedKey(key=KeyLine.of(found), dry_run=dry_run)
