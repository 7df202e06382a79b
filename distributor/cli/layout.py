"""How tables look to a person."""

from __future__ import annotations

from rich import box
from rich.table import Table


def grid(*headings: str, title: str | None = None) -> Table:
    """An empty table with headings; those that begin with `>` are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    return table


def hanging() -> Table:
    """An empty table of two columns without headings: a word, and a text that wraps beside it."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table
