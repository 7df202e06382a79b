"""`serve ROLE…`: the long-running processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.outcome import Outcome
from distributor.cli.supervisor import FOR_EYES, WITH_PARENT, RoleProcess, run_all, stop_with_parent
from distributor.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from distributor.settings import Settings

ROLES = ("coordinator", "publisher", "web", "consumer", "all")
INTERRUPTED = 130


class Served(Outcome):
    """How serving ended."""

    roles: tuple[str, ...]
    """What was served: `coordinator`, `publisher`, `web`, `consumer ENV.SYSTEM`."""
    ended: int
    """The exit code: 0 after SIGTERM, 130 after Ctrl-C, else what the role ended with."""

    @property
    def exit_code(self) -> int:
        """As the role ended."""
        return self.ended

    def show(self, console: Console) -> None:
        """Nothing: the log has told it."""


def serve(
    desk: Desk,
    roles: Annotated[list[str], typer.Argument(metavar="ROLE...", help=f"One or more of: {', '.join(ROLES)}.")],
    environment: Annotated[
        str | None, typer.Option("--env", metavar="ENV", help="consumer: the environment that it serves.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="SYSTEM", help="consumer: the system that it serves.")
    ] = None,
    with_parent: Annotated[bool, typer.Option(WITH_PARENT, hidden=True)] = False,
    for_eyes: Annotated[bool, typer.Option(FOR_EYES, hidden=True)] = False,
) -> Served:
    """Run roles until they are stopped: coordinator, publisher, web, consumer, or all of them.

    The coordinator takes environments from release to release; the publisher watches the master and makes releases;
    web is the HTTP API and the pages; a consumer serves one system of one environment. `serve all` runs a process for
    each of them, and for each member of the config: enough for one machine. In production run each role where it
    belongs.
    """
    settings = desk.settings
    processes = plan(settings, roles, environment, system)
    names = tuple(process.name for process in processes)
    if with_parent:
        stop_with_parent()
    if len(processes) > 1:
        number = run_all(processes, desk.config, desk.say)
        return Served(roles=names, ended=INTERRUPTED if number == signal.SIGINT else 0)
    _configure_telemetry(settings, roles[0], environment, system, for_eyes)
    if roles[0] == "consumer":
        assert environment is not None
        assert system is not None
        return Served(roles=names, ended=consumer_role()(settings, environment, system))
    return Served(roles=names, ended=_until_stopped(settings, roles[0]))


def plan(settings: Settings, roles: list[str], environment: str | None, system: str | None) -> list[RoleProcess]:
    """The processes that were asked for, each once. Raises UsageError."""
    members = [(env, name) for env, of in settings.environments.items() for name in of.systems]
    wanted: dict[str, RoleProcess] = {}
    for role in roles:
        if role not in ROLES:
            raise UsageError(f"there is no role {role!r}", where="serve", mend=f"Known: {', '.join(ROLES)}.")
        if role == "consumer":
            if environment is None or system is None:
                raise UsageError(
                    "a consumer serves one system of one environment",
                    where="serve consumer",
                    mend="Add --env ENV --system SYSTEM, or use `serve all`.",
                )
            known = settings.environment(environment).systems
            if system not in known:
                raise UsageError(
                    f"there is no system {system!r} in {environment}",
                    where="config",
                    mend=f"Known: {', '.join(known)}.",
                )
            found = [_consumer(environment, system)]
        elif role == "all":
            found = [RoleProcess(name, (name,)) for name in _for_all()]
            found += [_consumer(*member) for member in members]
        else:
            found = [RoleProcess(role, (role,))]
        wanted.update({process.name: process for process in found})
    return list(wanted.values())


def _for_all() -> tuple[str, ...]:
    return ("coordinator", "publisher", "web") if _web_is_installed() else ("coordinator", "publisher")


def consumer_role() -> Callable[[Settings, str, str], int]:
    """The consumer, which is a package of its own. Raises ConfigError when it is not installed."""
    for found in entry_points(group="distributor.roles", name="consumer"):
        run: Callable[[Settings, str, str], int] = found.load()
        return run
    raise ConfigError("no consumer is installed here", where="serve", mend="Install the package with its consumers.")


def _consumer(environment: str, system: str) -> RoleProcess:
    return RoleProcess(f"consumer {environment}.{system}", ("consumer", "--env", environment, "--system", system))


def _configure_telemetry(
    settings: Settings, role: str, environment: str | None, system: str | None, for_eyes: bool
) -> None:
    from distributor.telemetry.logs import bind, configure_logs
    from distributor.telemetry.tracing import configure_tracing

    # This process writes into a pipe; whoever reads it may show it on a terminal.
    log_format = "console" if for_eyes and settings.telemetry.log_format == "auto" else settings.telemetry.log_format
    configure_logs(log_format, settings.telemetry.log_level)
    configure_tracing(settings.telemetry.traces, role=role)
    bind(role=role, environment=environment, system=system)


def _until_stopped(settings: Settings, role: str) -> int:
    """Runs a service until SIGTERM (0) or SIGINT (130)."""

    async def run() -> int:
        stop = asyncio.Event()
        received: list[int] = []

        def note(number: int) -> None:
            received.append(number)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, note, number)
        await _service(role)(settings, stop)
        return INTERRUPTED if received[:1] == [signal.SIGINT] else 0

    return asyncio.run(run())


def _web_role() -> Callable[[Settings, asyncio.Event], Awaitable[None]]:
    if not _web_is_installed():
        raise ConfigError("the web needs packages that are not here", where="serve", mend="Install distributor[web].")
    from distributor.web.serve import serve_web

    return serve_web


def _web_is_installed() -> bool:
    return all(find_spec(name) is not None for name in ("fastapi", "jinja2", "multipart", "uvicorn"))


def _service(role: str) -> Callable[[Settings, asyncio.Event], Awaitable[None]]:
    if role == "coordinator":
        from distributor.coordination.coordinator import serve_coordinator
        from distributor.verification.resetting import reset

        return partial(serve_coordinator, reset=reset)
    if role == "web":
        return _web_role()
    from distributor.coordination.publisher import serve_publisher

    return serve_publisher
