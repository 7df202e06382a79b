"""`init` writes a config that the program itself can read, and makes the ledger; twice is once."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from distributor.cli.template import Places, worked_example
from distributor.settings import load_settings
from distributor.settings.models import Settings
from tests.cli.conftest import Run


def test_the_worked_example_is_a_valid_config(tmp_path: Path) -> None:
    config = tmp_path / "distributor.toml"
    config.write_text(worked_example(Places(ledger="postgresql://u:p@h/led", store="/srv/store")))
    settings = load_settings(config, {})
    assert settings.ledger.url == "postgresql://u:p@h/led"
    assert settings.store.path == Path("/srv/store")
    assert list(settings.master.datasets) == ["products"]
    assert {name: list(of.systems) for name, of in settings.environments.items()} == {
        "uat": ["crm", "pos"],
        "prod": ["crm", "pos"],
    }
    assert [of.follow for of in settings.environments.values()] == ["manual", "auto"]


def test_the_defaults_that_it_shows_are_the_defaults(tmp_path: Path) -> None:
    """Uncommenting every default changes nothing."""
    text = worked_example(Places())
    shown = re.sub(r"(?m)^# (?=[a-z_]+ = [^…]*$)", "", text)
    assert shown.count("\n# ") < text.count("\n# ")
    plain, uncommented = tmp_path / "plain.toml", tmp_path / "uncommented.toml"
    plain.write_text(text)
    uncommented.write_text(shown)
    assert load_settings(uncommented, {}) == load_settings(plain, {})


def test_every_key_is_explained(tmp_path: Path) -> None:
    text = worked_example(Places())
    for name, field in Settings.model_fields["telemetry"].annotation.model_fields.items():  # type: ignore[union-attr]
        assert f"# {field.description}\n# {name} = " in text


def test_an_unreachable_ledger_is_told_and_the_file_is_written(run: Run, tmp_path: Path, nowhere: Path) -> None:
    ledger = load_settings(nowhere, {}).ledger.url
    config = tmp_path / "new" / "distributor.toml"
    told = run("init", "--config", config, "--ledger-url", ledger, "--json")
    assert told.code == 0
    assert told.json["config_written"] is True
    assert told.json["ledger"] == "unreachable"
    assert "hidden" not in told.out
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    again = run("init", "--config", config, "--json")
    assert again.code == 1
    assert again.json["config_written"] is False


def test_dry_run_writes_nothing(run: Run, tmp_path: Path, nowhere: Path) -> None:
    config = tmp_path / "new.toml"
    told = run("init", "--config", config, "--ledger-url", load_settings(nowhere, {}).ledger.url, "--dry-run", "--json")
    assert told.json["dry_run"] is True
    assert not config.exists()


def test_it_creates_the_database_and_the_ledger_once(run: Run, tmp_path: Path, database: Callable[[], str]) -> None:
    there = sa.make_url(database())
    missing = there.set(database=f"{there.database}_ledger")
    url = missing.render_as_string(hide_password=False)
    config = tmp_path / "distributor.toml"
    try:
        options = ("--config", config, "--json")
        assert run("init", "--ledger-url", url, "--dry-run", *options).json["ledger"] == "missing"
        assert run("init", "--ledger-url", url, *options).json["ledger"] == "created"
        before = config.read_text()
        again = run("init", *options)
        assert again.code == 0
        assert again.json["ledger"] == "current"
        assert again.json["problem"] is None
        assert config.read_text() == before
    finally:
        with psycopg.connect(there.render_as_string(hide_password=False), autocommit=True) as conn:
            conn.execute(f'DROP DATABASE IF EXISTS "{missing.database}" WITH (FORCE)'.encode())


def test_a_role_that_may_not_create_databases_is_told_what_to_ask_for(
    run: Run, tmp_path: Path, database: Callable[[], str]
) -> None:
    there = sa.make_url(database())
    role = f"{there.database}_role"
    with psycopg.connect(there.render_as_string(hide_password=False), autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        try:
            url = there.set(username=role, password="secret", database="nothing_here")
            told = run(
                "init", "--config", tmp_path / "d.toml", "--ledger-url", url.render_as_string(hide_password=False)
            )
            assert told.code == 1
            assert 'CREATE DATABASE "nothing_here"' in told.err
            assert "secret" not in told.err
        finally:
            conn.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "no url at all"])
def test_a_ledger_url_of_another_kind_is_wrong_usage(url: str, run: Run, tmp_path: Path) -> None:
    assert run("init", "--config", tmp_path / "d.toml", "--ledger-url", url).code == 2
