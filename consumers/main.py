"""The role `consumer`: one process for one member, until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import threading
from importlib.metadata import entry_points

from consumers.adapters.base import Adapter
from consumers.consumer import Consumer
from distributor.errors import ConfigError
from distributor.settings import Settings

ADAPTERS = "distributor.adapters"


def run(settings: Settings, environment: str, system: str) -> int:
    """Serves one member and returns the process's exit code: 0 after a signal, 1 when a part of it broke.

    Raises ConfigError when the config does not name this member, or names an adapter that is not installed.
    """
    worker, auditor = (load_adapter(settings, environment, system) for _ in range(2))
    consumer = Consumer(settings, environment, system, worker, auditor)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: consumer.stop())
    return consumer.run()


def load_adapter(settings: Settings, environment: str, system: str) -> Adapter:
    """The adapter of a member, by the name that its config gives. It does not connect yet."""
    members = settings.environment(environment).systems
    if system not in members:
        raise ConfigError(
            f"there is no system {system!r}",
            where=f"environments.{environment}.systems",
            mend=f"Known: {', '.join(members)}.",
        )
    member = members[system]
    known = {found.name: found for found in entry_points(group=ADAPTERS)}
    if member.adapter not in known:
        raise ConfigError(
            f"there is no adapter {member.adapter!r}",
            where=f"environments.{environment}.systems.{system}.adapter",
            mend=f"Known: {', '.join(sorted(known))}.",
        )
    try:
        factory = known[member.adapter].load()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the adapter {member.adapter} needs {error.name}, which is not installed",
            where=f"environments.{environment}.systems.{system}.adapter",
            mend=f"pip install 'distributor[{member.adapter}]'.",
        ) from error
    adapter: Adapter = factory(member, settings.directory)
    return adapter
