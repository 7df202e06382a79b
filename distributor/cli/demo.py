"""`demo`: a whole estate on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distributor.cli.desk import Desk
from distributor.demo.outcome import DemoOutcome

LEAST_PRODUCTS = 1_500


def demo(
    desk: Desk,
    products: Annotated[
        int, typer.Option("--products", metavar="N", min=LEAST_PRODUCTS, help="Size of the catalogue, in products.")
    ] = 100_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another seed makes another catalogue.")] = 7,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running at the end, and say how to reach and stop it.")
    ] = False,
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="Where it keeps its files while it runs.")
    ] = Path(".distributor/demo"),
    broker_url: Annotated[
        str | None,
        typer.Option(
            "--broker-url",
            metavar="URL",
            envvar="DISTRIBUTOR_AMQP_URL",
            help="A RabbitMQ to use; default: a private one.",
            show_default=False,
        ),
    ] = None,
) -> DemoOutcome:
    """See a whole estate work on this machine, from the first load to a failure survived.

    It starts servers of its own and eight unlike systems, two of them again in a test team's environment, changes
    products, stops a consumer, and compares every system with the master row by row. It needs no config, and leaves
    nothing behind.
    """
    from distributor.demo.run import run
    from distributor.demo.story import Wishes

    wishes = Wishes(state=state, products=products, seed=seed, keep=keep, broker_url=broker_url)
    return run(wishes, desk.as_json)
