"""The program `distributor`: its verbs, in the panels of its help, and what becomes of a failure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from distributor.cli import capture, capture_verify
from distributor.cli.abort import abort
from distributor.cli.approving import approve, reject
from distributor.cli.audit import audit
from distributor.cli.changes import changes
from distributor.cli.check import check
from distributor.cli.compact import compact
from distributor.cli.deadletter import discard_letter, list_letters, retry_letter, show_letter
from distributor.cli.demo import demo
from distributor.cli.deploy import deploy
from distributor.cli.detach import detach
from distributor.cli.failing import tell
from distributor.cli.freezing import freeze, freezes, unfreeze
from distributor.cli.gc import gc
from distributor.cli.hold import hold
from distributor.cli.import_ import import_file
from distributor.cli.init import init
from distributor.cli.key import create_key, list_keys, revoke_key
from distributor.cli.local import local
from distributor.cli.outcome import Interrupted
from distributor.cli.pinning import follow, pin
from distributor.cli.plan import plan
from distributor.cli.product import product
from distributor.cli.promote import promote
from distributor.cli.publish import publish
from distributor.cli.quarantine import list_held, release_held, retry_held
from distributor.cli.refresh import refresh
from distributor.cli.release_hold import release_hold
from distributor.cli.releases import releases
from distributor.cli.requests import requests
from distributor.cli.rollback import rollback
from distributor.cli.rollout import rollout
from distributor.cli.rollouts import rollouts
from distributor.cli.serve import serve
from distributor.cli.status import status
from distributor.cli.triggers import call_trigger, list_triggers
from distributor.cli.verb import Verb, command
from distributor.cli.verify import verify
from distributor.cli.withdraw import withdraw
from distributor.errors import DistributorError

PANELS = SET_UP, EVERY_DAY, SEE, RUN = "Set up", "Every day", "See", "Run"

VERBS: dict[str, tuple[str, Verb]] = {
    "demo": (SET_UP, demo),
    "init": (SET_UP, init),
    "check": (SET_UP, check),
    "capture install": (SET_UP, capture.install),
    "capture status": (SET_UP, capture.status),
    "capture remove": (SET_UP, capture.remove),
    "capture verify": (SET_UP, capture_verify.verify),
    "import": (EVERY_DAY, import_file),
    "publish": (EVERY_DAY, publish),
    "plan": (EVERY_DAY, plan),
    "deploy": (EVERY_DAY, deploy),
    "refresh": (EVERY_DAY, refresh),
    "requests": (EVERY_DAY, requests),
    "withdraw": (EVERY_DAY, withdraw),
    "promote": (EVERY_DAY, promote),
    "approve": (EVERY_DAY, approve),
    "reject": (EVERY_DAY, reject),
    "hold": (EVERY_DAY, hold),
    "release-hold": (EVERY_DAY, release_hold),
    "freeze": (EVERY_DAY, freeze),
    "unfreeze": (EVERY_DAY, unfreeze),
    "freezes": (EVERY_DAY, freezes),
    "pin": (EVERY_DAY, pin),
    "follow": (EVERY_DAY, follow),
    "rollback": (EVERY_DAY, rollback),
    "abort": (EVERY_DAY, abort),
    "trigger": (EVERY_DAY, call_trigger),
    "detach": (EVERY_DAY, detach),
    "status": (SEE, status),
    "triggers": (SEE, list_triggers),
    "rollouts": (SEE, rollouts),
    "rollout": (SEE, rollout),
    "releases": (SEE, releases),
    "changes": (SEE, changes),
    "product": (SEE, product),
    "verify": (SEE, verify),
    "deadletter list": (SEE, list_letters),
    "deadletter show": (SEE, show_letter),
    "deadletter retry": (SEE, retry_letter),
    "deadletter discard": (SEE, discard_letter),
    "quarantine list": (SEE, list_held),
    "quarantine retry": (SEE, retry_held),
    "quarantine release": (SEE, release_held),
    "audit": (SEE, audit),
    "key create": (RUN, create_key),
    "key list": (RUN, list_keys),
    "key revoke": (RUN, revoke_key),
    "serve": (RUN, serve),
    "compact": (RUN, compact),
    "gc": (RUN, gc),
    "local": (RUN, local),
}
"""Every verb as it is typed: the panel in which the help shows it, and its function."""

_GROUPS = {
    "capture": "The master's triggers: install, look at, prove or remove them.",
    "deadletter": "Messages that could not be processed: see, retry or discard them.",
    "quarantine": "Rows that are held back: see them, have them judged again, or ship them as they are.",
    "key": "Keys of the HTTP API and the pages: make, list and revoke them.",
}


def build() -> typer.Typer:
    """The typer application of all verbs."""
    app = typer.Typer(
        name="distributor",
        help="Distributes product data from its master to every system of an environment, all together or not at all.",
        epilog="Begin with `distributor init`, or see everything work on this machine with `distributor demo`.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    groups: dict[str, typer.Typer] = {}
    for words, (panel, verb) in VERBS.items():
        group, _, name = words.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(no_args_is_help=True)
            app.add_typer(groups[group], name=group, help=_GROUPS[group], rich_help_panel=panel)
        _add(groups[group] if group else app, name, panel if not group else None, command(verb))
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"distributor {installed_version('distributor')}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    pass


def _add(app: typer.Typer, name: str, panel: str | None, run: Callable[..., int]) -> None:
    app.command(name, rich_help_panel=panel)(run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code. Nothing is raised, and nobody is shown a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        code = build()(args=given, prog_name="distributor", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return tell(Interrupted("interrupted"), as_json)
    except (DistributorError, typer.TyperException) as error:
        return tell(error, as_json)
    except Exception as error:  # noqa: BLE001 - the last place where a failure can become a sentence
        return tell(error, as_json)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
