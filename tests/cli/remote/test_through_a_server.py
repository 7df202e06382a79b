"""Verbs through a server's HTTP API, over a real socket: the documents and the refusals are those of the ledger."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from distributor.access.roles import Role
from distributor.cli.main import VERBS
from distributor.cli.remote import REMOTE, reading, writing
from distributor.ledger import keys
from distributor.ledger.engine import transaction
from distributor.ledger.keys import Key
from distributor.settings import load_settings
from distributor.telemetry.clock import new_id, now
from distributor.web.serve import serve_web
from tests.cli.conftest import Run

services = pytest.mark.services
As = Callable[..., None]


@pytest.fixture
def server(ledger: Engine, tmp_path: Path) -> Iterator[str]:
    """The address of a server over the ledger."""
    settings = load_settings(tmp_path / "d.toml", {})
    settings = settings.model_copy(update={"web": settings.web.model_copy(update={"listen": "127.0.0.1:0"})})
    told: list[str] = []
    up, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    def ready(address: str) -> None:
        told.append(address)
        up.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve_web(settings, stop, ready=ready)))
    thread.start()
    assert up.wait(30)
    yield told[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def as_(ledger: Engine, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> As:
    """Whoever types, from now on, is far away, has no config, and a key of this role."""

    def become(role: Role, *environments: str, name: str = "ann") -> None:
        secret = keys.new_secret()
        with transaction(ledger) as conn:
            keys.put(conn, Key(new_id(), name, role, environments, now(), "the test"), secret)
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / "elsewhere")
        monkeypatch.setenv("DISTRIBUTOR_SERVER", server)
        monkeypatch.setenv("DISTRIBUTOR_KEY", secret)

    return become


def test_every_verb_that_has_a_way_through_a_server_is_one() -> None:
    names = {verb.__name__ for _, verb in VERBS.values()}
    assert names >= REMOTE
    for name in REMOTE:
        assert hasattr(reading, name) or hasattr(writing, name), name


@services
@pytest.mark.parametrize(
    "words",
    [["rollouts"], ["releases"], ["audit"], ["requests"], ["freezes"], ["deadletter", "list"], ["status"]],
    ids=" ".join,
)
def test_the_document_is_the_same_through_a_server(words: list[str], run: Run, as_: As, tmp_path: Path) -> None:
    here = run(*words, "--json", "--config", tmp_path / "d.toml")
    as_(Role.ADMIN)
    there = run(*words, "--json")
    assert there.code == here.code == 0
    assert there.json.keys() == here.json.keys()
    differing = {name for name in here.json if here.json[name] != there.json[name]}
    assert differing <= {"at"}, "the time of asking may differ, and nothing else"


@services
def test_a_hold_is_placed_in_the_keys_name_and_ended(run: Run, as_: As, ledger: Engine) -> None:
    as_(Role.TESTER, "e", name="lena")
    held = run("hold", "e", "--reason", "regression", "--until", "2h", "--json")
    assert held.code == 0
    assert [hold["owner"] for hold in held.json["environment"]["holds"]] == ["lena"]
    assert "held by lena" in run("status").out
    assert "regression" in run("audit").out
    assert run("release-hold", "e", "--reason", "done").code == 0
    with transaction(ledger) as conn:
        told = conn.execute(text("SELECT who, what, why, environment FROM ledger.audit ORDER BY id")).all()
    assert [tuple(row) for row in told] == [
        ("lena", "hold", "regression", "e"),
        ("lena", "release-hold", "done", "e"),
    ]


@services
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["deploy", "e", "--reason", "r"], 11, "tester and may not deploy"),
        (["rollout", "00"], 11, "there is no rollout"),
        (["hold", "nowhere", "--reason", "r"], 11, "nowhere"),
        (["hold", "e", "--reason", " "], 2, "body.reason: it is empty"),
        (["hold", "e", "--reason", "r", "--by", "kim"], 2, "by the key"),
        (["hold", "e", "--reason", "r", "--dry-run"], 2, "--dry-run"),
        (["audit", "--verify"], 2, "--verify"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_is_refused_in_the_same_words(
    words: list[str], code: int, says: str, run: Run, as_: As
) -> None:
    as_(Role.TESTER, "e")
    done = run(*words)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


def test_a_key_never_travels_in_clear(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIBUTOR_KEY", "secret")
    done = run("status", "--server", "http://distributor.example.com")
    assert done.code == 2
    assert "in clear" in done.err


@services
def test_a_key_for_this_machine_is_told_to_no_proxy(run: Run, as_: As, monkeypatch: pytest.MonkeyPatch) -> None:
    as_(Role.VIEWER, "e")
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        thread = threading.Thread(target=_hear, args=(proxy, heard))
        thread.start()
        done = run("status")
        proxy.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (done.code, heard) == (0, [])


def _hear(proxy: socket.socket, heard: list[bytes]) -> None:
    with suppress(OSError):
        while True:
            line, _ = proxy.accept()
            heard.append(line.recv(4096))
            line.close()


@pytest.mark.parametrize(
    ("url", "says"), [("ftp://x", "no address"), ("x", "no address"), ("http://127.0.0.1:9", "does not answer")]
)
def test_an_address_where_nobody_answers(url: str, says: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIBUTOR_KEY", "secret")
    done = run("status", "--server", url)
    assert done.code in (1, 2)
    assert says in done.err


def test_without_a_key_nobody_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTRIBUTOR_KEY", raising=False)
    done = run("status", "--server", "https://distributor.example.com")
    assert done.code == 2
    assert "DISTRIBUTOR_KEY" in done.err


@services
def test_an_operator_ends_the_only_hold_whosever_it_is(run: Run, as_: As) -> None:
    as_(Role.TESTER, "e", name="lena")
    assert run("hold", "e", "--reason", "regression").code == 0
    as_(Role.TESTER, "e", name="kim")
    refused = run("release-hold", "e")
    assert refused.code == 11
    as_(Role.OPERATOR, "e", name="otto")
    assert run("release-hold", "e").code == 0
    assert "there is no hold of otto" in run("release-hold", "e").err
