"""`product KEY`: one product, what every environment and system shows of it, and which releases changed it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.changes import MARKS, field_lines
from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import MOST_NUMBER
from distributor.cli.outcome import Outcome
from distributor.views.product import Product, ProductRow
from distributor.views.product import product as look_at
from distributor.views.product_history import ProductChange
from distributor.views.product_places import ProductInEnvironment
from distributor.views.wording import as_text, plain, stamp


class ShownProduct(Product, Outcome):
    """One product, in every dataset that has a row of its key."""

    def show(self, console: Console) -> None:
        """For each dataset: the row everywhere, side by side; what systems make of it; its history."""
        for row in self.rows:
            key = ", ".join(f"{column}={plain(value)}" for column, value in row.key.items())
            there = "" if row.row else ", which has no such row"
            console.print(f"{row.dataset} {key}, newest release {self.release}{there}")
            console.print(_side_by_side(self.release, row))
            for environment in row.environments:
                for line in _systems(environment):
                    console.print(line, soft_wrap=True)
            for change in row.history:
                for line in _change(change):
                    console.print(line, soft_wrap=True)
            if row.stopped:
                console.print(f"looked back to release {row.looked_back_to}: {row.stopped}", soft_wrap=True)


def _side_by_side(newest: int, row: ProductRow) -> object:
    places = row.environments
    table = grid("column", f"release {newest}", *(_heading(place) for place in places))
    rows = [row.row, *(place.row for place in places)]
    for column in dict.fromkeys(name for found in rows if found for name in found):
        cells = [as_text(found[column]) if found and column in found else "-" for found in rows]
        marked = [cell if cell == cells[0] else f"{cell} *" for cell in cells]
        table.add_row(column, *marked)
    return table


def _heading(place: ProductInEnvironment) -> str:
    notes = [str(place.release), *(["variant"] if place.variant else []), *(["masked"] if place.masked else [])]
    return f"{place.environment} ({', '.join(notes)})"


def _systems(place: ProductInEnvironment) -> Iterator[str]:
    if not place.known:
        yield f"{place.environment}: what it shows is not known"
    for held in place.held_back:
        yield f"{place.environment}: held back: {held.system}, {held.table}.{held.column} {plain(held.why)}"
    for system in place.systems:
        at = "" if system.release == place.release else f" (release {system.release})"
        for table in system.tables:
            where = f"{place.environment} {system.system}{at} {table.table}"
            if table.row is None:
                yield f"{where}: {plain(table.why)}"
            else:
                yield f"{where}: {', '.join(f'{name}={as_text(value)}' for name, value in table.row.items())}"


def _change(change: ProductChange) -> Iterator[str]:
    online = "; ".join(f"{place.environment} since {stamp(place.at)}" for place in change.online)
    yield f"{MARKS[change.op]} release {change.release}, {stamp(change.published_at)} UTC; {online or 'nowhere online'}"
    if change.restart:
        yield f"    in another shape: {'; '.join(change.restart)}"
    yield from field_lines(change.op, change.fields)


def product(
    desk: Desk,
    key: Annotated[
        list[str],
        typer.Argument(metavar="KEY", help="The key of its row, as canonical text: one value for each column of it."),
    ],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only its row in this one.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_NUMBER, metavar="N", help="How many changes to show.")
    ] = 20,
) -> ShownProduct:
    """Show one product: its value everywhere, and the releases that changed it, with when each went online.

    A row is shown for every dataset with such a key. What differs from the newest release is marked with *. No more
    than 500 releases, and 256 MB of changes, are looked through for each of them; it says where it stopped.
    """
    with desk.reading() as conn:
        return ShownProduct.of(look_at(conn, desk.settings, desk.store, key, dataset, limit=limit))
