"""Makes a command of a verb: adds `--config` and `--json`, and writes or shows what it ends with."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.outcome import Interrupted, Outcome
from distributor.cli.remote import REMOTE
from distributor.telemetry.logs import configure_logs

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The config file; else what DISTRIBUTOR_CONFIG names, else ./distributor.toml.",
        rich_help_panel="Everywhere",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.", rich_help_panel="Everywhere")
]

ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="DISTRIBUTOR_SERVER",
        show_envvar=False,
        help="Work through the HTTP API there, with the key in DISTRIBUTOR_KEY; else on the config's ledger.",
        rich_help_panel="Everywhere",
        show_default=False,
    ),
]

PIPED_WIDTH = 160
Verb = Callable[..., Outcome]


def outcome_console() -> Console:
    """Where an outcome is shown to a person; in a pipe, tables are wide unless COLUMNS says how wide."""
    told = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()  # noqa: TID251
    return Console(highlight=False, markup=False, width=None if told else PIPED_WIDTH)


def outcome_of(verb: Verb) -> type[Outcome]:
    """The outcome that a verb promises by its annotation."""
    returned = get_type_hints(verb)["return"]
    assert isinstance(returned, type)
    assert issubclass(returned, Outcome)
    return returned


def command(verb: Verb) -> Callable[..., int]:
    """The command of a verb `(desk, options…) -> Outcome`; it returns the exit code. Some verbs have a way through a
    server, too."""
    hints = get_type_hints(verb, include_extras=True)
    options = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(verb).parameters.items()
        if name != "desk"
    ]
    common = [
        inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config),
        inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson),
    ]

    if verb.__name__ in REMOTE:
        common.append(inspect.Parameter("server", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ServerUrl))

    def run(**given: Any) -> int:
        configure_logs(log_level="warning")
        desk, server = Desk(given.pop("config"), given.pop("as_json")), given.pop("server", None)
        if verb.__name__ not in REMOTE and os.environ.get("DISTRIBUTOR_SERVER"):  # noqa: TID251
            desk.say("this verb has no way through a server: it works on the config here")
        try:
            outcome = _through(server, verb, desk, given) if server else verb(desk, **given)
        except KeyboardInterrupt as interrupt:
            raise Interrupted("interrupted") from interrupt
        if desk.as_json:
            sys.stdout.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            outcome.show(outcome_console())
        return outcome.exit_code

    run.__name__ = verb.__name__
    run.__doc__ = verb.__doc__
    run.__signature__ = inspect.Signature([*options, *common])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*options, *common)}
    return run


def _through(server: str, verb: Verb, desk: Desk, given: dict[str, Any]) -> Outcome:
    from distributor.cli.remote.verbs import run

    return run(verb.__name__, server, desk, given)
