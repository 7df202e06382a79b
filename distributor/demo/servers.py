"""Which servers the demo can have on this machine, beside PostgreSQL and RabbitMQ."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

from distributor.demo.systems import INSTEAD
from distributor.errors import UnreachableError
from distributor.local.mariadb import choose_mariadb
from distributor.local.redis import get_redis_server

_DRIVERS = {"mariadb": "pymysql", "redis": "redis"}


def missing_servers(say: Callable[[str], None]) -> set[str]:
    """The stores that cannot be had, each with the reason said; servers that can are installed on the way."""
    missing = set()
    with tempfile.TemporaryDirectory(prefix="distributor-") as directory:
        for store, driver in _DRIVERS.items():
            if importlib.util.find_spec(driver) is None:
                why = f"the driver {driver} is not installed (pip install 'distributor[{store}]')"
            else:
                try:
                    _install(store, Path(directory), say)
                    continue
                except UnreachableError as error:
                    why = error.what
            say(f"no {store}: {why}; {INSTEAD[store]} takes its place")
            missing.add(store)
    return missing


def _install(store: str, directory: Path, say: Callable[[str], None]) -> None:
    if store == "mariadb":
        choose_mariadb(directory, announce=say)
    else:
        get_redis_server(say, directory / "apt.log")
