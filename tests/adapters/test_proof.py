"""The mutation test is tested: adapters with a fault in their proof fail it, each by the mutations that tell."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.adapters import sqlite_audit, sqlite_text
from consumers.adapters.base import Batch, Touched
from consumers.adapters.sqlite import SQLiteAdapter, SQLiteLoading
from consumers.conformance.alterations import Damage
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import certificate_of
from consumers.conformance.mutations import PROOF_TABLE, Script
from consumers.conformance.proof import FEWEST, Proof, Trial, Way
from tests.adapters.postgresql_meddler import PostgreSQLMeddler
from tests.adapters.sqlite_meddler import SQLiteMeddler
from tests.adapters.test_sqlite import SQLiteSeat

pytestmark = pytest.mark.conformance

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
Tried = Callable[..., list[Trial]]


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[SQLiteAdapter]:
    adapter = SQLiteSeat(tmp_path).adapter()
    adapter.prepare(ENVIRONMENT, SYSTEM, (PROOF_TABLE,))
    yield adapter
    adapter.close()


@pytest.fixture
def tried(tmp_path: Path, adapter: SQLiteAdapter) -> Tried:
    def run(*damages: Damage) -> list[Trial]:
        meddler = SQLiteMeddler(tmp_path / "system.db")
        try:
            proof = Proof(adapter, meddler)
            wanted = damages or tuple(Damage)
            proof.script.mutations = [m for m in proof.script.mutations if m.damage in wanted]
            return list(proof.trials())
        finally:
            meddler.close()

    return run


def test_a_store_without_triggers_is_judged_by_altered_batches(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SQLiteMeddler, "altering", lambda self, slot, table, edits: None)
    trials = tried()
    assert all(trial.good for trial in trials)
    assert {trial.way for trial in trials} == set(Way) - {Way.WRITTEN}
    assert len({t.mutation.edits for t in trials if t.way is Way.HANDED and t.differs}) >= FEWEST


def test_an_adapter_that_trusts_its_writes_is_found_out(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = SQLiteLoading.apply

    def trusting(self: SQLiteLoading, batch: Batch) -> Touched:
        rows = [tuple(row.values()) for row in batch.upserts.to_pylist()]
        return Touched(apply(self, batch).before, certificate_of(batch.table, rows))

    monkeypatch.setattr(SQLiteLoading, "apply", trusting)
    trials = tried(Damage.CASE, Damage.NOT_DONE)
    assert {trial.good for trial in trials if trial.way is Way.WRITTEN} == {False}
    assert {trial.good for trial in trials if trial.way is not Way.WRITTEN} == {True}


def test_an_audit_that_remembers_is_found_out(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered = certificate_of(PROOF_TABLE, Script(SQLiteMeddler.oddities).second.values())
    monkeypatch.setattr(SQLiteAdapter, "audit", lambda self, slot, table: remembered)
    trials = tried(Damage.CASE, Damage.KEY)
    assert {trial.good for trial in trials if trial.way is Way.STORED} == {False}
    assert {trial.good for trial in trials if trial.way is not Way.STORED} == {True}


def test_an_adapter_that_shows_what_it_should_not_hold_as_if_it_could_is_found_out(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_text, "_strange", str)
    missed = {f"{trial.mutation.type}: {trial.mutation.what}" for trial in tried(Damage.TYPE) if not trial.good}
    assert missed == {
        "boolean: text",
        "bytes: hex as text",
        "double: text",
        "text: blob that a driver shows as the same text",
    }


@pytest.mark.parametrize(
    "fault",
    [
        lambda text: text and text.strip(),
        lambda text: text and text.casefold(),
        lambda text: text and unicodedata.normalize("NFC", text),
        lambda text: text or None,
        lambda text: text and text.replace("\r\n", "\n"),
    ],
    ids=["trims", "folds case", "normalises", "takes '' for NULL", "turns line ends"],
)
def test_a_text_that_is_not_canonical_is_found_out(
    tried: Tried, monkeypatch: pytest.MonkeyPatch, fault: Callable[[str | None], str | None]
) -> None:
    monkeypatch.setattr(sqlite_text, "_text", fault)
    # The usual way of a text is SQLite's own: led through Python, where it can be spoilt.
    monkeypatch.setattr(sqlite_audit, "_plain", lambda column, type_: "")
    with pytest.raises(AssertionError):
        assert all(trial.good for trial in tried(Damage.REWRITTEN))


@pytest.mark.parametrize(("name", "meddler"), [("PostgreSQL", PostgreSQLMeddler), ("SQLite", SQLiteMeddler)])
def test_the_page_tells_of_these_mutations(name: str, meddler: type[PostgreSQLMeddler | SQLiteMeddler]) -> None:
    count = len({mutation.edits for mutation in Script(meddler.oddities).mutations})
    page = PAGE.read_text(encoding="utf-8")
    assert f"\n| {name} | {count} | " in page, "python -m tests.mutations > docs/proof.md"
