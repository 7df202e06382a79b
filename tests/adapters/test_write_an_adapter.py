"""What the guide for authors names is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "write-an-adapter.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMES = sorted(
    set(re.findall(r"`(common|streaming|Loading|Judges|KnowsObstacles|KnowsItsWork|Inspects)\.(\w+)`", TEXT))
)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_what_the_guide_names_is_there(module: str, name: str) -> None:
    if module[0].isupper():
        assert hasattr(getattr(import_module("consumers.adapters.base"), module), name)
    else:
        assert hasattr(import_module(f"consumers.adapters.{module}"), name)


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_enough_is_named() -> None:
    assert len(NAMES) > 20
