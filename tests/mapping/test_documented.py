"""docs/mappings.md: every example gives what it says, and everything that is allowed has one."""

from __future__ import annotations

import duckdb
import pytest

from distributor.mapping.expressions import ALLOWED, parsed
from tests.mapping.documented import ROW, Example, examples
from tests.shaping.shapes import value

# Parts of what examples are made of, and what sqlglot reads some examples as on the way.
_PARTS = {"Identifier", "Var", "DataTypeParam"}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.expr)
def test_an_example_gives_what_the_page_says(example: Example) -> None:
    assert value(example.expr, example.type, ROW) == example.gives


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.expr)
def test_an_expression_is_run_as_it_was_written(example: Example) -> None:
    """Against DuckDB with the text itself: nothing is lost on the way through the parser."""
    types = {"text": "VARCHAR", "integer": "BIGINT"}
    columns = ", ".join(
        f"CAST({'NULL' if text is None else repr(text)} AS {types.get(type_, type_)}) AS {name}"
        for name, (type_, text) in ROW.items()
    )
    ((direct,),) = duckdb.sql(f"SELECT CAST({example.expr} AS VARCHAR) FROM (SELECT {columns})").fetchall()
    through = value(f"CAST({example.expr} AS VARCHAR)", "text", ROW)
    assert through == direct


def test_everything_that_is_allowed_has_an_example() -> None:
    shown = {type(node) for example in examples() for node in parsed(example.expr, "here").walk()}
    assert {kind.__name__ for kind in ALLOWED} - {kind.__name__ for kind in shown} <= _PARTS
