"""`audit --verify` names every way of altering the audit, and what docs/audit.md says of doing it by hand is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from distributor.ledger import audit
from distributor.ledger.engine import transaction
from distributor.local.cluster import wheel_directory
from tests.cli.conftest import Ran, Run

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
AT = datetime(2026, 3, 1, 8, 15, 0, 120, tzinfo=UTC)
WHY = ["", "nightly ", "zwölf\nZeilen", "a:b,c", "1:x,", "100 %", "“quoted”", "-,", "tab\there", "last"]

Tell = Callable[..., Ran]


@pytest.fixture
def tell(run: Run, tmp_path: Path, ledger: Engine) -> Tell:
    """`audit --verify --json` over ten acts, each in a transaction of its own."""
    for number, why in enumerate(WHY):
        with transaction(ledger) as conn:
            environment = "e" if number % 2 else None
            audit.record(
                conn, audit.AuditRecord(AT, "anna", "hold", why, environment, {"ü": number} if number else None)
            )
    return lambda *words: run("audit", "--verify", "--json", *words, "--config", tmp_path / "d.toml")


def tamper(ledger: Engine, *statements: str) -> None:
    """As a superuser does it who is not stopped by triggers."""
    with transaction(ledger) as conn:
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            conn.exec_driver_sql(statement)


def named(ran: Ran) -> list[tuple[int | None, int | None, str]]:
    """What was found: number, row and kind of each difference."""
    assert ran.code == 10
    seals = ran.json["seals"]
    found = [(one["seq"], one["audit_id"], one["kind"]) for one in seals["differences"]]
    assert seals["found"] == len(found)
    assert all(one["what"] for one in seals["differences"])
    return found


def test_an_audit_that_nobody_altered(tell: Tell, run: Run, tmp_path: Path) -> None:
    first = tell()
    assert first.code == 0
    seals = first.json["seals"]
    assert (seals["rows"], seals["found"], seals["differences"]) == (10, 0, [])
    assert re.fullmatch(r"10:[0-9a-f]{64}", seals["head"])
    assert first.json["audit"] == []
    for noted in (seals["head"], seals["head"].partition(":")[2].upper()):
        assert tell("--expect", noted).code == 0
    told = run("audit", "--verify", "--expect", seals["head"], "--config", tmp_path / "d.toml")
    assert told.out == f"10 rows as they were sealed, and the noted head is among them\nhead: {seals['head']}\n"
    assert run("audit", "--json", "--config", tmp_path / "d.toml").json["seals"] is None


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("who = 'bert'", "row changed"),
        ("why = why || ' '", "row changed"),
        ("what = '', why = 'hold' || why", "row changed"),
        ("at = at + interval '1 microsecond'", "row changed"),
        ("at = '0044-03-15 BC'", "row changed"),
        ("at = 'infinity'", "row changed"),
        ("environment = coalesce(environment, '') || 'x'", "row changed"),
        ("detail = NULL", "row changed"),
    ],
)
def test_a_changed_row_is_named(tell: Tell, ledger: Engine, change: str, kind: str) -> None:
    tamper(ledger, f"UPDATE ledger.audit SET {change} WHERE id = 4")
    assert named(tell()) == [(4, 4, kind)]


def test_of_the_newest_row_it_cannot_be_told_which_was_changed(tell: Tell, ledger: Engine) -> None:
    tamper(ledger, "UPDATE ledger.audit SET why = 'other' WHERE id = 10")
    assert named(tell()) == [(10, 10, "row or seal changed")]


def test_neighbours_that_were_changed_are_both_named(tell: Tell, ledger: Engine) -> None:
    tamper(ledger, "UPDATE ledger.audit SET who = 'bert' WHERE id IN (4, 5, 9)")
    assert named(tell()) == [(4, 4, "row or seal changed"), (5, 5, "row changed"), (9, 9, "row changed")]


def test_a_row_that_was_deleted_is_named(tell: Tell, ledger: Engine) -> None:
    tamper(ledger, "DELETE FROM ledger.audit WHERE id IN (4, 10)")
    assert named(tell()) == [(4, 4, "row missing"), (10, 10, "row missing")]


def test_a_row_that_was_taken_out_with_its_seal_is_named(tell: Tell, ledger: Engine) -> None:
    both = [f"DELETE FROM ledger.{table} WHERE {name} = 4" for table, name in (("audit", "id"), ("audit_chain", "seq"))]
    tamper(ledger, *both)
    assert named(tell()) == [(4, None, "gap")]
    tamper(
        ledger,
        "UPDATE ledger.audit_chain SET seq = seq + 1000 WHERE seq > 4",
        "UPDATE ledger.audit_chain SET seq = seq - 1001 WHERE seq > 4",
    )
    assert named(tell()) == [(4, 5, "row changed")]


def test_a_seal_that_was_changed_or_deleted_is_named(tell: Tell, ledger: Engine) -> None:
    tamper(
        ledger,
        "UPDATE ledger.audit_chain SET seal = repeat('a', 64) WHERE seq = 3",
        "DELETE FROM ledger.audit_chain WHERE seq = 7",
    )
    assert named(tell()) == [(3, 3, "seal changed"), (7, None, "gap"), (None, 7, "unsealed row")]


def test_a_changed_row_that_was_sealed_again_breaks_the_seal_after_it(tell: Tell, ledger: Engine) -> None:
    tamper(
        ledger,
        "UPDATE ledger.audit SET who = 'bert' WHERE id = 4",
        "UPDATE ledger.audit_chain c SET seal = ledger.seal(p.seal, a) FROM ledger.audit_chain p, ledger.audit a"
        " WHERE c.seq = 4 AND p.seq = 3 AND a.id = 4",
    )
    assert named(tell()) == [(5, 5, "row changed")]


def test_rows_and_seals_that_were_swapped_are_named(tell: Tell, ledger: Engine) -> None:
    swap = "UPDATE ledger.audit a SET why = b.why FROM ledger.audit b WHERE (a.id, b.id) IN ((2, 6), (6, 2))"
    tamper(ledger, swap)
    assert named(tell()) == [(2, 2, "row changed"), (6, 6, "row changed")]
    tamper(ledger, swap)
    assert tell().code == 0
    tamper(
        ledger,
        "UPDATE ledger.audit_chain SET audit_id = -audit_id WHERE seq IN (2, 6)",
        "UPDATE ledger.audit_chain SET audit_id = 8 + audit_id WHERE seq IN (2, 6)",
    )
    assert named(tell()) == [(2, 6, "row changed"), (6, 2, "row changed")]


def test_a_row_that_was_added_past_the_trigger_is_named(tell: Tell, ledger: Engine) -> None:
    tamper(ledger, "INSERT INTO ledger.audit (at, who, what, why) VALUES (now(), 'eve', 'hold', '')")
    assert named(tell()) == [(None, 11, "unsealed row")]


def test_a_tail_that_was_cut_is_found_by_a_head_that_was_noted(tell: Tell, ledger: Engine) -> None:
    earlier, noted = "5:" + _seal(ledger, 5), tell().json["seals"]["head"]
    tamper(ledger, "DELETE FROM ledger.audit WHERE id > 8", "DELETE FROM ledger.audit_chain WHERE seq > 8")
    assert tell().code == 0
    assert tell("--expect", earlier).code == 0
    assert named(tell("--expect", noted)) == [(10, None, "head gone")]
    assert named(tell("--expect", noted.partition(":")[2])) == [(None, None, "head gone")]


def test_a_chain_that_was_made_anew_is_found_by_any_head_that_was_noted(tell: Tell, ledger: Engine) -> None:
    noted = f"5:{_seal(ledger, 5)}"
    tamper(
        ledger,
        "UPDATE ledger.audit SET who = 'bert' WHERE id = 2",
        "DELETE FROM ledger.audit_chain",
        "DO $$ DECLARE a ledger.audit; BEGIN FOR a IN SELECT * FROM ledger.audit ORDER BY id LOOP"
        " PERFORM ledger.seal_next(a); END LOOP; END $$",
    )
    assert tell().code == 0
    assert named(tell("--expect", noted)) == [(5, None, "head gone")]
    assert named(tell("--expect", noted.replace("5:", "6:"))) == [(6, None, "head gone")]


def test_much_that_was_altered_is_counted_and_its_beginning_named(
    run: Run, tell: Tell, tmp_path: Path, ledger: Engine
) -> None:
    with transaction(ledger) as conn:
        for number in range(140):
            audit.record(conn, audit.AuditRecord(AT, "anna", "hold", str(number)))
    tamper(ledger, "DELETE FROM ledger.audit")
    ran = tell()
    assert (ran.code, ran.json["seals"]["found"], len(ran.json["seals"]["differences"])) == (10, 150, 100)
    told = run("audit", "--verify", "--config", tmp_path / "d.toml").out
    assert (
        "THE AUDIT IS NOT AS IT WAS SEALED: 150 differences in 150 rows\n  number 1, row 1: its row is gone\n" in told
    )
    assert "… and 50 more" in told


def test_no_head_and_no_verify_are_said(tell: Tell, run: Run, tmp_path: Path) -> None:
    assert "no head of the audit" in tell("--expect", "abc").out
    ran = run("audit", "--expect", "0" * 64, "--config", tmp_path / "d.toml")
    assert (ran.code, "belongs to --verify" in ran.err) == (2, True)


def test_an_empty_audit_is_as_it_was_sealed(run: Run, tmp_path: Path, ledger: Engine) -> None:
    ran = run("audit", "--verify", "--config", tmp_path / "d.toml")
    assert (ran.code, ran.out) == (0, "0 rows as they were sealed\nhead: -\n")


def test_the_script_of_the_page_agrees_and_disagrees(tell: Tell, ledger: Engine) -> None:
    head = tell().json["seals"]["head"]
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    def ask() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LEDGER": _url(ledger)}
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
        )

    assert ask().stdout == f"{head}\n"
    tamper(ledger, "UPDATE ledger.audit SET who = 'bert' WHERE id = 4")
    assert "AssertionError: row 4 is not as it was sealed" in ask().stderr


def test_psql_and_sha256sum_give_the_same_seals(tell: Tell, ledger: Engine) -> None:
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    path = f"{wheel_directory() / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for seq in range(1, 11):
        environment = {**os.environ, "PATH": path, "LEDGER": _url(ledger), "SEQ": str(seq)}
        ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
        assert (ran.stdout.split(), ran.stderr) == ([_seal(ledger, seq), "-"], "")


def _seal(ledger: Engine, seq: int) -> str:
    with psycopg.connect(_url(ledger)) as conn:
        row = conn.execute("SELECT seal FROM ledger.audit_chain WHERE seq = %s", [seq]).fetchone()
    assert row is not None
    return str(row[0])


def _url(ledger: Engine) -> str:
    return ledger.url.set(drivername="postgresql").render_as_string(hide_password=False)
