"""`triggers` and `trigger`: what an operator sees and does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from distributor.cli import triggers as verb
from distributor.coordination.following import Following
from distributor.ledger.engine import transaction
from distributor.ledger.triggers import waiting
from distributor.settings import load_settings
from distributor.store.directory import DirectoryStore
from tests.cli.conftest import Run

RULES = """
[[environments.e.triggers]]
name = "weekly"
on = "schedule"
cron = "0 6 * * mon"
timezone = "Europe/Vienna"
[[environments.e.triggers]]
name = "erp-done"
on = "message"
"""


@pytest.fixture
def config(ledger: Engine, tmp_path: Path) -> Path:
    file = tmp_path / "d.toml"
    file.write_text(file.read_text() + RULES)
    with transaction(ledger) as conn:
        conn.execute(text("DELETE FROM ledger.releases"))
    return file


@pytest.fixture
def look(ledger: Engine, config: Path, tmp_path: Path) -> Callable[[], None]:
    """A coordinator's look at the environment."""
    following = Following(ledger, load_settings(config), DirectoryStore(tmp_path / "store"))

    def once() -> None:
        following.follow("e")

    return once


def test_triggers_are_listed_with_what_they_decided_and_wait_for(
    run: Run, config: Path, look: Callable[[], None]
) -> None:
    look()
    found = run("triggers", "--json", "--config", config).json["triggers"]
    assert [(line["name"], line["on"], line["when"], line["waits"]) for line in found] == [
        ("weekly", "schedule", "schedule `0 6 * * mon` (Europe/Vienna)", ""),
        ("erp-done", "message", "when it is called, by a message or by the API", ""),
    ]
    assert found[0]["decision"].startswith("looked after since ")
    assert found[0]["next_at"].endswith((":00:00Z", ":00:00+00:00"))
    assert (found[1]["decision"], found[1]["decided_at"], found[1]["next_at"]) == ("", None, None)
    shown = run("triggers", "e", "--config", config)
    assert "schedule `0 6 * * mon` (Europe/Vienna)" in shown.out
    assert run("triggers", "moon", "--config", config).code == 2


def test_a_call_waits_for_a_coordinator_and_is_answered_in_a_sentence(
    run: Run, config: Path, ledger: Engine, look: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "TAKEN_WITHIN", 0.0)
    words = ("trigger", "e", "erp-done", "--reason", "prices are in", "--by", "ann", "--config", config)
    assert run(*words, "--dry-run").out == "erp-done of e would be called; nothing was done\n"
    called = run(*words, "--json").json
    assert (called["name"], called["by"], called["outcome"], called["taken_at"]) == ("erp-done", "ann", "", None)
    assert run("triggers", "--json", "--config", config).json["triggers"][1]["calls_waiting"] == 1
    assert run(*words).out == "erp-done of e is called; it waits for a coordinator to take it\n"
    look()
    with transaction(ledger) as conn:
        assert waiting(conn, "e") == []
    decided = run("triggers", "--json", "--config", config).json["triggers"][1]["decision"]
    assert decided == "ann called erp-done: prices are in; there is no release yet: nothing to do"
    acts = [(act["who"], act["what"], act["why"]) for act in run("audit", "--json", "--config", config).json["audit"]]
    assert acts == [
        ("ann", "trigger", decided),
        ("ann", "trigger", decided),
        ("ann", "call trigger", "prices are in"),
        ("ann", "call trigger", "prices are in"),
    ]


def test_a_coordinator_that_is_up_answers_while_it_is_waited_for(
    run: Run, config: Path, look: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: look())
    told = run("trigger", "e", "erp-done", "--reason", "now", "--by", "ann", "--config", config)
    assert (told.code, told.out) == (0, "e: ann called erp-done: now; there is no release yet: nothing to do\n")


@pytest.mark.parametrize("name", ["weekly", "nightly"])
def test_what_cannot_be_called_is_refused(run: Run, config: Path, name: str) -> None:
    refused = run("trigger", "e", name, "--reason", "now", "--json", "--config", config)
    assert (refused.code, refused.json["error"].endswith("Error")) == (11, True)
    assert refused.json["mend"] == 'Triggers with on = "message" can be called; e has: erp-done.'


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ('name = "calm"\non = "change"\nquiet_period = "4s"', 'so follow = "auto"'),
        ('name = "follow"\non = "message"', 'no trigger is called "follow"'),
        ('name = "erp-done"\non = "message"', "two triggers are called 'erp-done'"),
        ('name = "early"\non = "schedule"\ncron = "0 6 * *"', "has not the five fields of cron"),
        ('name = "early"\non = "schedule"\ncron = "0 6 * * *"\ntimezone = "Mars"', "there is no time zone 'Mars'"),
    ],
)
def test_a_config_that_contradicts_itself_is_refused(run: Run, config: Path, rule: str, complaint: str) -> None:
    config.write_text(config.read_text() + f"[[environments.e.triggers]]\n{rule}\n")
    refused = run("triggers", "--json", "--config", config)
    assert refused.code == 2
    assert complaint in refused.json["what"]
