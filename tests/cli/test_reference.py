"""docs/cli.md is what the verbs say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from distributor.cli.main import PANELS, VERBS
from distributor.cli.reference import page
from distributor.cli.verb import outcome_of
from tests.cli.conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m distributor.cli.reference > docs/cli.md`"


@pytest.mark.parametrize("words", VERBS)
def test_every_verb_and_every_field_is_explained(words: str, run: Run) -> None:
    panel, verb = VERBS[words]
    assert panel in PANELS
    assert f"`distributor {words}" in page()
    schema = outcome_of(verb).model_json_schema(mode="serialization")
    objects = [schema, *schema.get("$defs", {}).values()]
    bare = [
        f"{found.get('title')}.{name}"
        for found in objects
        for name, field in found.get("properties", {}).items()
        if not field.get("description") and found.get("title") not in {"Counts"}
    ]
    assert not bare
    told = run(*words.split(), "--help")
    assert told.code == 0
    assert "--json" in told.out
    assert "--config" in told.out


def test_the_help_shows_every_verb_in_its_panel(run: Run) -> None:
    text = run("--help").out
    places = [text.index(f"─ {panel} ─") for panel in PANELS]
    assert places == sorted(places)
    for words in VERBS:
        assert f"│ {words.split()[0]} " in text
