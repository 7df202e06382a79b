"""The desk's verbs, as a person and as a script meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from distributor.ledger.engine import transaction
from distributor.ledger.refresh_requests import RefreshRequest, add
from distributor.telemetry.clock import now
from tests.cli.conftest import Run

pytestmark = pytest.mark.services


@pytest.fixture
def config(ledger: Engine, tmp_path: Path) -> Path:
    """An environment `e` that opens once a week and is asked about by two teams."""
    file = tmp_path / "d.toml"
    window = '[[environments.e.windows]]\ncron = "0 22 * * sun"\nlasts = "90m"\ntimezone = "Europe/Vienna"\n'
    file.write_text(file.read_text() + window)
    with transaction(ledger) as conn:
        for id_, by in (("aa11", "tess"), ("ab22", "tom")):
            add(conn, RefreshRequest(id_, "e", by, "a test", now(), release=2))
    return file


def test_freezes_and_windows(run: Run, config: Path) -> None:
    placed = run(
        "freeze", "e", "--until", "2d", "--reason", "quarter end", "--by", "olga", "--json", "--config", config
    )
    assert placed.code == 0
    freeze = placed.json["freeze"]
    assert (freeze["environment"], freeze["by"], freeze["stands"]) == ("e", "olga", True)
    everywhere = run(
        "freeze", "--all", "--from", "2h", "--until", "3h", "--reason", "all", "--json", "--config", config
    )
    assert everywhere.json["freeze"]["environment"] is None
    told = run("freezes", "e", "--json", "--config", config).json
    assert [one["reason"] for one in told["freezes"]] == ["all", "quarter end"]
    [window] = told["windows"]
    assert (window["cron"], window["lasts_seconds"], window["timezone"]) == ("0 22 * * sun", 5400.0, "Europe/Vienna")
    assert window["opens_at"] < window["closes_at"]
    status = run("status", "e", "--config", config)
    assert status.code == 0

    assert run("unfreeze", freeze["id"][:6], "--dry-run", "--config", config).code == 0
    ended = run("unfreeze", freeze["id"][:6], "--reason", "over", "--by", "ann", "--json", "--config", config).json
    assert (ended["freeze"]["ended_by"], ended["freeze"]["stands"]) == ("ann", False)
    assert run("unfreeze", freeze["id"], "--config", config).code == 11
    assert [one["reason"] for one in run("freezes", "--json", "--config", config).json["freezes"]] == ["all"]
    assert len(run("freezes", "--all", "--json", "--config", config).json["freezes"]) == 2
    assert "0 22 * * sun" in run("freezes", "--config", config).out
    what = [entry["what"] for entry in run("audit", "--json", "--config", config).json["audit"]]
    assert what[:3] == ["unfreeze", "freeze", "freeze"]


def test_what_cannot_be_frozen(run: Run, config: Path) -> None:
    for words, why in (
        (("e", "--all", "--until", "2h"), "name an environment, or say --all"),
        (("--until", "2h"), "name an environment, or say --all"),
        (("nowhere", "--until", "2h"), "no environment 'nowhere'"),
        (("e", "--until", "2020-01-01"), "is past"),
        (("e", "--until", "soon"), "is no time"),
    ):
        ran = run("freeze", *words, "--reason", "r", "--config", config)
        assert ran.code == 2
        assert why in ran.err


def test_requests_have_a_place_and_are_taken_back(run: Run, config: Path) -> None:
    told = run("requests", "e", "--json", "--config", config).json["requests"]
    assert [(one["id"], one["place"], one["state"]) for one in told] == [("aa11", 1, "waiting"), ("ab22", 2, "waiting")]
    assert told[0]["waiting_for"] == "a coordinator"
    assert told[1]["waiting_for"] == "its turn, after the request of tess (aa11)"
    assert "unknown: no rollout has gone online here yet" in told[1]["estimate"]
    shown = run("requests", "--config", config).out
    assert "aa11: place 1, waiting for a coordinator" in shown

    assert run("withdraw", "a", "--config", config).code == 2
    assert run("withdraw", "zz", "--config", config).code == 2
    gone = run("withdraw", "aa", "--reason", "not needed", "--by", "tess", "--json", "--config", config).json["request"]
    assert (gone["state"], gone["place"], gone["outcome"]) == ("withdrawn", 0, "withdrawn by tess: not needed")
    assert run("withdraw", "aa", "--config", config).code == 11
    told = run("requests", "--open", "--json", "--config", config).json["requests"]
    assert [(one["id"], one["place"]) for one in told] == [("ab22", 1)]


def test_verbs_that_cannot_do_what_they_are_asked(run: Run, config: Path) -> None:
    for words, code, why in (
        (("refresh", "e", "--release", "1", "--at", "2h"), 2, "exclude each other"),
        (("refresh", "e", "--at", "tomorrow"), 2, "is no time"),
        (("refresh", "e", "--at", "2999-01-01"), 2, "still to come"),
        (("refresh", "e", "--at", "2001-01-01"), 11, "no release yet"),
        (("pin", "e", "--reason", "r"), 11, 'follow = "manual"'),
        (("follow", "e"), 11, 'follow = "manual"'),
        (("approve", "ff", "--reason", "r"), 2, "no rollout 'ff'"),
        (("promote", "e", "e", "--reason", "r"), 2, "to itself"),
        (("promote", "nowhere", "e", "--reason", "r"), 2, "no environment 'nowhere'"),
    ):
        ran = run(*words, "--config", config)
        assert (ran.code, why in ran.err) == (code, True), ran.err
