"""A failure is one sentence, the right exit code, and never a traceback; with --json it is one object on stdout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from distributor.cli import main as program
from distributor.errors import UsageError
from tests.cli.conftest import Run, config_text

HUGE = "9" * 20
LEDGER_VERBS = [
    ("status",),
    ("status", "uat"),
    ("rollouts",),
    ("rollout", "abc"),
    ("releases",),
    ("changes", "1"),
    ("audit",),
    ("deadletter", "list"),
    ("deadletter", "show", "1"),
    ("deadletter", "retry", "1"),
    ("deadletter", "discard", "1", "--reason", "noise"),
    ("deploy", "uat"),
    ("deploy", "uat", "--dry-run"),
    ("refresh", "uat"),
    ("rollback", "uat", "--reason", "wrong prices"),
    ("hold", "uat", "--reason", "tests"),
    ("release-hold", "uat"),
    ("abort", "uat", "--reason", "wrong"),
    ("detach", "uat", "pos", "--reason", "gone"),
]


@pytest.mark.parametrize("words", LEDGER_VERBS, ids=" ".join)
def test_unreachable_ledger_is_one_sentence(words: tuple[str, ...], run: Run, nowhere: Path) -> None:
    told = run(*words, "--config", nowhere)
    assert told.code == 1
    assert told.out == ""
    assert told.err.startswith("distributor: ledger 127.0.0.1:")
    assert told.err.count("\n") == 1
    assert "hidden" not in told.err


@pytest.mark.parametrize("words", LEDGER_VERBS, ids=" ".join)
def test_unreachable_ledger_is_one_object_with_json(words: tuple[str, ...], run: Run, nowhere: Path) -> None:
    told = run(*words, "--json", "--config", nowhere)
    assert told.code == 1
    assert told.json["error"] == "UnreachableError"
    assert told.json["retryable"] is True
    assert told.json["exit_code"] == told.code
    assert told.err == ""


def test_missing_config_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    told = run("status", "--config", tmp_path / "none.toml")
    assert told.code == 2
    assert "`distributor init` writes one" in told.err


def test_unknown_key_names_line_and_nearest_key(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "distributor.toml"
    config.write_text(config_text("postgresql://h/m", "postgresql://h/l", "amqp://h/", systems='folow = "auto"'))
    told = run("status", "--config", config, "--json")
    assert told.code == 2
    assert told.json["error"] == "ConfigError"
    line = config.read_text().splitlines().index('folow = "auto"') + 1
    assert f"distributor.toml:{line}" in told.json["what"]
    assert "did you mean 'follow'" in told.json["what"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deploi", "uat"), "deploy"),
        (("deploy",), "ENV"),
        (("hold", "uat"), "--reason"),
        (("changes", "zero"), "N"),
        (("demo", "--products", "3"), "--products"),
        (("serve", "waiter"), "coordinator"),
        (("serve", "consumer"), "--system"),
        (("deploy", "nowhere"), "uat"),
        (("deploy", "uat", "--no-wait", "--timeout", "1s"), "--timeout"),
        (("deploy", "uat", "--timeout", "soon"), "30m"),
        (("hold", "uat", "--reason", "r", "--until", "soon"), "2h"),
        (("hold", "uat", "--reason", "r", "--until", "2001-01-01"), "past"),
        (("detach", "uat", "crm", "--reason", "r"), "pos"),
        (("status", "nowhere"), "uat"),
        (("deploy", "uat", "--release", HUGE), "--release"),
        (("refresh", "uat", "--release", HUGE), "--release"),
        (("rollback", "uat", "--reason", "r", "--to", HUGE), "--to"),
        (("changes", HUGE), "less than or equal to"),
        (("changes", "1", "--limit", HUGE), "--limit"),
        (("audit", "--limit", HUGE), "--limit"),
        (("deadletter", "show", HUGE), "less than or equal to"),
        (("deadletter", "retry", HUGE), "less than or equal to"),
        (("refresh", "uat", "--systems", ",,"), "names nothing"),
        (("rollout", ""), "no rollout is named"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_wrong_usage_is_2_and_says_what_is_right(words: tuple[str, ...], said: str, run: Run, nowhere: Path) -> None:
    options = () if words[0] in {"deploi", "demo"} else ("--config", nowhere)
    told = run(*words, *options)
    assert told.code == 2, told.err
    assert said in told.err
    assert run(*words, *options, "--json").json["exit_code"] == 2


def test_no_verb_shows_the_help(run: Run) -> None:
    told = run()
    assert told.code == 2
    assert "Every day" in told.out


def test_an_unforeseen_failure_is_a_sentence_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr(program, "build", broken)
    told = run("status")
    assert told.code == 1
    assert told.err == (
        "distributor: ZeroDivisionError: division by zero. This should not happen: set DISTRIBUTOR_DEBUG=1 and run it "
        "again to see where it comes from.\n"
    )
    assert run("status", "--json").json["error"] == "UnexpectedError"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no such key; did you mean 'follow'?", "f.toml: no such key; did you mean 'follow'? Mend it."),
        ("it ended.", "f.toml: it ended. Mend it."),
        ("it ended", "f.toml: it ended. Mend it."),
    ],
)
def test_a_sentence_ends_once(what: str, said: str) -> None:
    assert str(UsageError(what, where="f.toml", mend="Mend it.")) == said


def test_the_version_is_told(run: Run) -> None:
    told = run("--version")
    assert (told.code, told.out) == (0, f"distributor {version('distributor')}\n")


def test_debug_shows_where_it_comes_from(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "distributor", "status", "--json"]
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "DISTRIBUTOR_DEBUG": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stdout.startswith("{")


def test_interrupt_is_130(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(program, "build", interrupted)
    assert run("status").code == 130
    assert run("status", "--json").json["exit_code"] == 130
