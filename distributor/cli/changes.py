"""`changes N`: what a release changed, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console

from distributor.cli.desk import Desk
from distributor.cli.options import MOST_NUMBER, MOST_RELEASE
from distributor.cli.outcome import Outcome
from distributor.views.changes import Changes, FieldChange
from distributor.views.changes import changes as of_release
from distributor.views.wording import as_text, count, plain

MARKS = {"insert": "+", "update": "~", "delete": "-"}


class ShownChanges(Changes, Outcome):
    """What one release changed."""

    def show(self, console: Console) -> None:
        """What changed of the shapes, then one paragraph for each row."""
        for dataset, told in self.restarts.items():
            console.print(f"! {dataset} begins anew in another shape: {'; '.join(told)}")
        for change in self.changes:
            key = ", ".join(f"{column}={plain(value)}" for column, value in change.key.items())
            console.print(f"{MARKS[change.op]} {change.dataset} {key}")
            for line in field_lines(change.op, change.fields):
                console.print(line)
        rest = self.total - len(self.changes)
        more = f"; {rest:,} more with a greater --limit" if rest else ""
        console.print(
            f"release {self.release} changed {count(self.total, 'row')} of release {self.parent_release}{more}"
        )


def changes(
    desk: Desk,
    release: Annotated[int, typer.Argument(metavar="N", help="The number of the release.", min=1, max=MOST_RELEASE)],
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Only this dataset.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VALUE", help="Only the row of this key; once for each column of the key."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_NUMBER, metavar="N", help="How many rows to show.")
    ] = 100,
) -> ShownChanges:
    """Show what one release changed, field by field (+ inserts, ~ updates, - deletes)."""
    with desk.reading() as conn:
        return ShownChanges.of(of_release(conn, desk.store, release, dataset=dataset, key=key or (), limit=limit))


def field_lines(op: str, fields: Iterable[FieldChange]) -> Iterator[str]:
    """A line for each field: both values of an update, the only one of an insert or a delete."""
    for field in fields:
        if op == "update":
            yield f"    {field.column}: {as_text(field.before)} → {as_text(field.after)}"
        else:
            yield f"    {field.column}: {as_text(field.after if op == 'insert' else field.before)}"
