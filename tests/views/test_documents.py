"""What every document keeps: fields that are explained, and the same JSON whoever shows it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

from distributor import views
from distributor.cli.main import VERBS
from distributor.cli.outcome import Outcome
from distributor.cli.verb import outcome_of
from distributor.views.base import View


def documents() -> Iterator[type[View]]:
    for module in pkgutil.iter_modules(views.__path__):
        for found in vars(importlib.import_module(f"distributor.views.{module.name}")).values():
            if (
                isinstance(found, type)
                and issubclass(found, View)
                and found.__module__ == f"distributor.views.{module.name}"
            ):
                yield found


@pytest.mark.parametrize("document", list(documents()), ids=lambda one: one.__name__)
def test_every_field_is_explained(document: type[View]) -> None:
    assert document.__doc__
    for name, field in document.model_fields.items():
        assert field.description, f"{name} of {document.__name__}"


def test_a_verb_tells_what_the_document_tells() -> None:
    shown = [outcome_of(verb) for _, verb in VERBS.values()]
    of_views = {
        outcome: base
        for outcome in shown
        for base in outcome.__bases__
        if base not in (Outcome, View) and base.__module__.startswith("distributor.views.")
    }
    assert len(of_views) > 10
    for outcome, document in of_views.items():
        mine, theirs = outcome.model_json_schema(mode="serialization"), document.model_json_schema(mode="serialization")
        assert mine["properties"].items() >= theirs["properties"].items()
        assert mine.get("$defs", {}).items() >= theirs.get("$defs", {}).items()


def test_what_is_shown_is_the_document_itself() -> None:
    class Part(View):
        number: int

    class Document(View):
        parts: tuple[Part, ...]

    class Shown(Document, Outcome):
        pass

    document = Document(parts=(Part(number=1),))
    shown = Shown.of(document)
    assert shown.parts is document.parts
    assert shown.model_dump_json() == document.model_dump_json()
    with pytest.raises(AssertionError):
        Shown.of(Part(number=1))
