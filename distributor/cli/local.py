"""`local`: a ledger's PostgreSQL and a RabbitMQ for a machine that has neither."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.outcome import Outcome


class LocalServers(Outcome):
    """What ran, and where. The same directory gives the same addresses and the same data again."""

    ledger_url: str
    """The PostgreSQL database that `[ledger]` of the config file may name."""
    broker_url: str
    """The virtual host that `[broker]` of the config file may name."""
    state: Path
    """Where both keep their files; deleting it forgets them."""

    def show(self, console: Console) -> None:
        """Both have stopped."""
        console.print(f"both have stopped; their data lies in {self.state}")


def local(
    desk: Desk,
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="Where both servers keep their files.")] = Path(
        ".distributor/local"
    ),
) -> LocalServers:
    """Run a PostgreSQL for the ledger and a RabbitMQ on this machine until Ctrl-C, for trying things out.

    Both listen on the loopback interface only. In production name servers of your own in the config file instead.
    """
    from distributor.local.broker import choose_broker
    from distributor.local.postgresql import LocalPostgreSQL

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    desk.say("starting PostgreSQL and RabbitMQ …")
    with (
        LocalPostgreSQL(state / "postgresql") as postgresql,
        choose_broker(state / "rabbitmq", announce=desk.say) as broker,
    ):
        servers = LocalServers(
            ledger_url=postgresql.create_database("ledger"), broker_url=broker.url(), state=state.resolve()
        )
        desk.say(f'both are up until Ctrl-C. In distributor.toml:\n\n[ledger]\nurl = "{servers.ledger_url}"\n')
        desk.say(f'[broker]\nurl = "{servers.broker_url}"\n')
        stopped.wait()
        desk.say("stopping …")
    return servers
