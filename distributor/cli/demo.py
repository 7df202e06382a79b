"""`demo`: a whole estate on this machine, from the first load to a failure survived."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from distributor.cli.desk import Desk
from distributor.demo.outcome import DemoOutcome

FEWEST_PRODUCTS = 5_000


def demo(
    desk: Desk,
    products: Annotated[
        int, typer.Option("--products", min=FEWEST_PRODUCTS, metavar="N", help="Size of the catalogue.")
    ] = 100_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed makes the same catalogue.")] = 7,
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="Where everything lies while it runs.")] = Path(
        ".distributor/demo"
    ),
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running afterwards, until Ctrl-C, and say how to reach it.")
    ] = False,
) -> DemoOutcome:
    """See it work: seven systems on this machine, a change carried to all of them, one of them failing.

    It starts its own PostgreSQL and RabbitMQ on private ports and leaves nothing behind. It needs no config file.
    """
    from distributor.demo.run import run
    from distributor.demo.story import Wishes

    given = os.environ.get("DISTRIBUTOR_AMQP_URL")  # noqa: TID251
    wishes = Wishes(state=state, products=products, seed=seed, keep=keep, broker_url=given)
    return run(wishes, desk.as_json)
