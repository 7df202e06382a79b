"""A process that starts one server, says its pids, and waits to be ended by its test."""

from __future__ import annotations

import sys
from pathlib import Path

from distributor.local.mariadb import LocalMariaDB
from distributor.local.postgresql import LocalPostgreSQL
from distributor.local.rabbitmq import LocalRabbitMQ
from distributor.local.redis import LocalRedis


def main(kind: str, directory: Path) -> None:
    if kind == "postgresql":
        postgresql = LocalPostgreSQL(directory).start()
        print(postgresql.pid, flush=True)
    elif kind == "mariadb":
        print(LocalMariaDB(directory).start().pid, flush=True)
    elif kind == "redis":
        print(LocalRedis(directory).start().pid, flush=True)
    else:
        print(*LocalRabbitMQ(directory).start().pids, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
