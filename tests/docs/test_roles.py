"""The pages of docs/roles: every command, route and page that they name is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from distributor.cli.main import build
from distributor.settings import load_settings
from distributor.web.app import create_app

PAGES = sorted((Path(__file__).parents[2] / "docs" / "roles").glob("*.md"))
CONFIG = """
[master]
url = "postgresql://nobody@127.0.0.1:9/master"
[master.datasets.products]
table = "products"
[ledger]
url = "postgresql://nobody@127.0.0.1:9/ledger"
[broker]
url = "amqp://nobody@127.0.0.1:9/"
[store]
path = "store"
"""


def quoted(page: Path) -> Iterator[str]:
    """Whatever stands in backquotes, or in a block."""
    text = page.read_text()
    for block in re.findall(r"```\n(.*?)```", text, flags=re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_are_there_with_their_options(page: Path) -> None:
    for command in quoted(page):
        if not command.startswith("distributor "):
            continue
        words = shlex.split(command.replace("…", "x"))[1:]
        found = typer.main.get_command(build())
        while words and hasattr(found, "commands"):
            assert words[0] in found.commands, command
            found = found.commands[words.pop(0)]
        options = {name for param in found.params for name in (*param.opts, *param.secondary_opts)}
        given = {word for word in words if word.startswith("--")}
        assert given <= options, command
        needed = [param for param in found.params if param.required and param.param_type_name == "option"]
        assert all(given & set(param.opts) for param in needed), command
        found.make_context(command, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_routes_and_pages_are_there(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "distributor.toml"
    file.write_text(CONFIG)
    app = create_app(load_settings(file, {}))
    known = [
        (method, re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(context.path)) + "$"))
        for context in _routes(app)
        for method in context.methods or ()
    ]
    for text in quoted(page):
        method, _, path = text.rpartition(" ")
        if not path.startswith("/") or method not in ("", "GET", "POST", "DELETE"):
            continue
        plain = path.partition("?")[0]
        assert any(method in ("", at) and pattern.match(plain) for at, pattern in known), text


def _routes(app: object) -> Iterator[object]:
    from fastapi.routing import iter_route_contexts

    yield from iter_route_contexts(app.routes)  # type: ignore[attr-defined]


def test_there_is_a_page_for_each_role() -> None:
    assert [page.stem for page in PAGES] == ["README", "auditor", "data-team", "operator", "release-manager", "tester"]
