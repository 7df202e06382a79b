"""`verify` with a real ledger, broker and coordinator, and members that are none of our code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from distributor.ledger import audit, environments, releases, timeline, verifications
from distributor.ledger.engine import ledger_engine, transaction
from distributor.mapping.compiled import expected_of
from distributor.model.repair import Repair
from distributor.settings import Settings, load_settings
from distributor.store.chunks import read_manifest
from distributor.store.directory import DirectoryStore
from distributor.telemetry.clock import now
from distributor.verification import closer
from tests.capture.master import install_capture
from tests.capture.master import run as sql
from tests.cli.conftest import Ran, Run
from tests.coordination.conftest import coordinator
from tests.coordination.fake_member import FakeMember
from tests.support import wait_for
from tests.verification.fake_auditor import FakeAuditor, Row, Slot

pytestmark = pytest.mark.services
REPAIR, STAGE, FLIP, SETTLE = (f"pd.member.{kind}.v1" for kind in ("repair", "stage", "flip", "settle"))
NAMES = {"items": ("products", 1), "prices": ("prices", 2)}
CONFIG = """
[master]
url = "{master}"
[master.datasets.products]
table = "products"
[master.datasets.prices]
table = "prices"
[ledger]
url = "{ledger}"
[broker]
url = "{broker}"
[store]
path = "store"
[environments.uat]
[environments.uat.systems.crm]
adapter = "sqlite"
url = "sqlite:///crm.db"
[environments.uat.systems.pos]
adapter = "sqlite"
url = "sqlite:///pos.db"
[environments.uat.systems.till]
adapter = "sqlite"
url = "sqlite:///till.db"
required = false
"""
TABLES = "".join(
    f'[[systems.{system}.tables]]\ndataset = "products"\ninto = "items"\n'
    f'[[systems.{system}.tables]]\ndataset = "prices"\n'
    for system in ("crm", "pos", "till")
)


@dataclass
class World:
    """An environment of three members that show release 2 of a catalogue whose newest is release 3."""

    run: Run
    config: Path
    settings: Settings
    engine: Engine
    members: dict[str, FakeMember] = field(default_factory=dict)
    auditors: dict[str, FakeAuditor] = field(default_factory=dict)

    def __call__(self, *words: object, **expected: int) -> Ran:
        ran = self.run(*words, "--config", self.config)
        assert ran.code == expected.get("code", 0), ran
        return ran

    def verify(self, *words: object, code: int) -> dict[str, Any]:
        return self("verify", "uat", "--json", *words, code=code).json

    def store(self) -> DirectoryStore:
        return DirectoryStore(self.settings.resolve(self.settings.store.path))


def rows(release: int) -> dict[str, list[Row]]:
    """What the datasets have at a release: as in the statements below."""
    name = {1: "old", 2: "Größe", 3: "new"}[release]
    return {
        "items": [(f"P{n}", f"{name} {n}" if n % 3 == 0 or n > 1000 else f"same {n}" if n % 7 else None)
                  for n in range(1, 1000 if release < 3 else 1010)],
        "prices": [(f"P{n}", currency, f"{n}.5") for n in range(1, 200) for currency in ("EUR", "USD")],
    }  # fmt: skip


@pytest.fixture
def world(database: Callable[[], str], amqp_url: str, tmp_path: Path, run: Run) -> Iterator[World]:
    master, ledger = database(), database()
    config = tmp_path / "distributor.toml"
    config.write_text(CONFIG.format(master=master, ledger=ledger, broker=amqp_url) + TABLES)
    settings = load_settings(config)
    named = "CASE WHEN n % 3 = 0 THEN '{} ' || n WHEN n % 7 <> 0 THEN 'same ' || n END"
    sql(
        master,
        "CREATE TABLE products (sku text PRIMARY KEY, name text)",
        "CREATE TABLE prices (sku text, currency text, amount numeric(10,3), PRIMARY KEY (sku, currency))",
        f"INSERT INTO products SELECT 'P' || n, {named.format('old')} FROM generate_series(1, 999) n",
        "INSERT INTO prices SELECT 'P' || n, c, n + 0.5 FROM generate_series(1, 199) n, unnest('{EUR,USD}'::text[]) c",
    )
    install_capture(master, settings.master.datasets)
    with ExitStack() as stack:
        engine = ledger_engine(ledger)
        stack.callback(engine.dispose)
        made = World(run, config, settings, engine)
        made("init")
        for release, change in ((1, ""), (2, "old/Größe"), (3, "Größe/new")):
            if change:
                old, _, new = change.partition("/")
                sql(master, f"UPDATE products SET name = replace(name, '{old}', '{new}')")
            if release == 3:
                sql(master, "INSERT INTO products SELECT 'P' || n, 'new ' || n FROM generate_series(1000, 1009) n")
                sql(master, "UPDATE products SET name = 'same 1000' WHERE sku = 'P1000'")
            assert made("publish", "--json").json["release"] == release
        stack.enter_context(coordinator(settings))
        for system in settings.environments["uat"].systems:
            mapping = settings.mapping(system)
            with transaction(engine) as conn:
                manifest = read_manifest(made.store(), releases.release(conn, 2).manifest)
            certificate = found.digest if (found := expected_of(mapping, manifest)) else ""
            online, shadow = (Slot(2, mapping.version, rows(2)) for _ in range(2))
            auditor = made.auditors[system] = FakeAuditor(NAMES, online, shadow)
            made.members[system] = stack.enter_context(
                FakeMember(amqp_url, "uat", system, certificate, mapping.version, audits=auditor)
            )
        assert made("deploy", "uat", "--release", 2, "--json", code=0).json["rollout"]["state"] == "online"
        yield made


def alter(slot: Slot) -> dict[str, list[tuple[dict[str, str], str]]]:
    """Alters a slot by hand; returns what must be found, by table."""
    items, prices = slot.tables["items"], slot.tables["prices"]
    items[11] = (items[11][0], "by hand")
    del items[500]
    items.append(("X-1", None))
    items.append(items[3])
    prices[0] = (*prices[0][:2], None)
    return {
        "items": [
            ({"sku": "P12"}, "different"),
            ({"sku": "P4"}, "doubled"),
            ({"sku": "P501"}, "missing"),
            ({"sku": "X-1"}, "extra"),
        ],
        "prices": [({"sku": "P1", "currency": "EUR"}, "different")],
    }


def found(told: dict[str, Any], system: str, slot: str = "online") -> dict[str, list[tuple[dict[str, str], str]]]:
    [mine] = [part for part in told["systems"] if part["system"] == system]
    return {
        table["table"]: [(row["key"], row["what"]) for row in table["rows"]]
        for table in mine["tables"]
        if table["slot"] == slot
    }


def test_every_row_is_right(world: World) -> None:
    told = world.verify(code=0)
    assert (told["release"], told["level"], told["different"]) == (2, "L3 audit", False)
    assert [system["system"] for system in told["systems"]] == ["crm", "pos", "till"]
    [items, prices] = told["systems"][0]["tables"]
    assert (items["rows_stored"], items["rows_expected"], items["buckets"]) == (999, 999, [])
    assert (prices["dataset"], prices["slot"], prices["rows_wrong"]) == ("prices", "online", 0)
    assert [question["depth"] for question in world.auditors["crm"].asked] == ["buckets"]
    with transaction(world.engine) as conn:
        [(verification, ended)] = verifications.known(conn, "uat")
        assert verification.id == told["verification"]
        assert ended
        assert ended.outcome == "every row of crm, pos, till is as it should be"
        assert verifications.purge(conn, now()) == 0, "answers are kept for as long as they are of use"
        assert audit.records(conn, "uat")[0].what == "verify"
        assert timeline.entries(conn, environment="uat")[-1].kind == "verified"
    assert "crm, pos, till: every row is as the release has it" in world("verify", "uat").out


def test_what_differs_is_named_exactly_and_nothing_else_is_looked_at(world: World) -> None:
    expected = alter(world.auditors["crm"].online)
    alter(world.auditors["crm"].shadow)
    told = world.verify(code=10)
    assert told["different"]
    assert found(told, "crm") == expected
    assert found(told, "pos") == {"items": [], "prices": []}
    [items, _] = told["systems"][0]["tables"]
    assert (items["rows_stored"], items["rows_wrong"], items["rows_left_out"]) == (1000, 4, 0)
    crm, pos = world.auditors["crm"], world.auditors["pos"]
    assert [question["depth"] for question in crm.asked] == ["buckets", "leaves", "rows"]
    assert len(pos.asked) == 1
    _, leaves, single = crm.asked
    assert set(leaves["tables"]["items"]) == set(items["buckets"])
    assert len(single["tables"]["items"]) <= 4
    assert single["tables"]["prices"]
    shown = world("verify", "uat", "--systems", "crm", code=10).out
    assert "crm, online items: 4 rows differ from release 2\n  different sku=P12\n" in shown
    assert "  different sku=P1, currency=EUR" in shown
    assert "`distributor verify uat --repair` mends exactly these rows" in shown
    with transaction(world.engine) as conn:
        [(_, ended), *_] = verifications.known(conn, "uat")
        assert ended
        assert ended.outcome == (
            "crm: online items: 4 rows differ from release 2; crm: online prices: 1 row differs from release 2"
        )


def test_too_many_to_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closer, "ROWS_MOST", 3)
    alter(world.auditors["crm"].online)
    told = world.verify("--repair", "--dry-run", code=10)
    [items, prices, *_] = told["systems"][0]["tables"]
    assert (items["rows_wrong"], items["rows"]) == (None, [])
    assert prices["rows_wrong"] in (None, 1)
    assert told["systems"][0]["remedy"].endswith("all is to be loaded anew")


def test_who_does_not_answer_is_named(world: World) -> None:
    world.members["till"].audits = None
    told = world.verify("--timeout", "1s", code=12)
    [_, _, till] = told["systems"]
    assert (till["outcome"], till["required"], till["tables"]) == ("silent", False, [])
    assert till["why"] == "no answer within 1 s"
    world.members["crm"].audits = None
    alter(world.auditors["pos"].online)
    ran = world("verify", "uat", "--timeout", "1s", code=10)
    assert "crm was not verified: no answer within 1 s" in ran.out
    assert "till was not verified" in ran.out
    assert "uat: crm silent" in ran.err


def test_who_cannot_audit_or_be_compared_is_named(world: World) -> None:
    world.auditors["crm"].error = "the disk is gone"
    world.auditors["pos"].online.mapping = "another"
    told = world.verify(code=1)
    assert [system["outcome"] for system in told["systems"]] == ["failed", "unfit", "verified"]
    assert told["systems"][0]["why"] == "the disk is gone"
    world.auditors["crm"].error = ""
    world.auditors["pos"].online.release = 99
    world.auditors["pos"].online.mapping = world.settings.mapping("pos").version
    assert "there is no release 99" in world.verify(code=1)["systems"][1]["why"]


def test_a_member_that_changes_over_meanwhile_is_asked_anew(world: World) -> None:
    crm = world.auditors["crm"]
    alter(crm.online)

    def change_over_once(question: dict[str, Any]) -> None:
        if question["depth"] == "leaves" and len(crm.asked) == 2:
            crm.online = Slot(3, crm.online.mapping, rows(3))

    crm.before = change_over_once
    told = world.verify(code=0)
    assert told["systems"][0]["release"] == 3
    assert [question["depth"] for question in crm.asked] == ["buckets", "leaves", "buckets"]
    assert len({question["audit_id"] for question in crm.asked}) == 2

    def for_ever(_: dict[str, Any]) -> None:
        crm.online.release = 5 - (crm.online.release or 0)

    crm.before = for_ever
    told = world.verify(code=13)
    assert (told["systems"][0]["outcome"], told["systems"][0]["tables"]) == ("moved", [])


def test_wrong_usage(world: World) -> None:
    assert "there is no system 'erp' in uat" in world("verify", "uat", "--systems", "erp", code=2).err
    assert "--dry-run goes with --repair" in world("verify", "uat", "--dry-run", code=2).err
    assert "there is no environment" in world("verify", "moon", code=2).err


def test_a_repair_mends_exactly_what_is_wrong(world: World) -> None:
    crm, till = world.auditors["crm"], world.auditors["till"]
    alter(crm.online)
    crm.shadow = Slot(1, crm.online.mapping, rows(1))
    crm.shadow.tables["items"].append(("X-2", "extra in the shadow"))
    till.online.tables["items"].pop(0)
    till.shadow.release = None
    would = world.verify("--repair", "--dry-run", code=10)
    assert (would["dry_run"], would["repair"]) == (True, None)
    assert [system["remedy"] for system in would["systems"]] == ["6 rows to mend", "", "1 row to mend"]
    assert REPAIR not in world.members["crm"].kinds()
    # Nobody looks closer at a slot in which nothing differs.
    assert [question["shadow"] for question in crm.asked] == [True, True, True]
    assert [question["shadow"] for question in till.asked] == [True, False, False]

    def mended(member: FakeMember, command: dict[str, Any]) -> Any:
        auditor = world.auditors[member.system]
        auditor.online = auditor.shadow = Slot(2, auditor.online.mapping, rows(2))
        return member.healthy(command)

    for system in ("crm", "till"):
        world.members[system].replies[REPAIR] = mended
    told = world.verify("--repair", "--reason", "by hand", code=0)
    assert told["repair"]["rollout"]["state"] == "online"
    assert [(s["mended"], s["rows_loaded"]) for s in told["systems"]] == [(True, 1), (False, None), (True, 1)]
    # The other slot is of another release, and what a load would build upon.
    assert found(told, "crm", "shadow")["items"] == [({"sku": "X-2"}, "extra")]
    # Whoever holds the release already has nothing to do with it.
    assert {kind for kind, data, _ in world.members["pos"].commands if data["epoch"] > 1} <= {SETTLE}

    command = world.members["crm"].command(REPAIR)
    assert (command["release"], command["from_release"]) == (2, 2)
    repair = Repair.model_validate_json(world.store().get(command["repair"]))
    assert (repair.release, repair.manifest, repair.rows) == (2, command["manifest"], 6)
    right = {row[0]: row for row in rows(2)["items"]}
    lists = {chunk.dataset: pq.read_table(world.store().local_path(chunk.sha256)) for chunk in repair.chunks}
    assert [tuple(row.values()) for row in lists["products"].to_pylist()] == [
        ("insert", None, None, *right["P12"]),
        ("insert", None, None, *right["P4"]),
        ("insert", None, None, *right["P501"]),
        ("delete", "X-1", None, None, None),
        ("delete", "X-2", None, None, None),
    ]
    assert [tuple(row.values()) for row in lists["prices"].to_pylist()] == [
        ("insert", None, None, None, "P1", "EUR", "1.5")
    ]
    with transaction(world.engine) as conn:
        acts = [(entry.what, entry.why) for entry in audit.records(conn, "uat")]
    assert acts[:2] == [("verify --repair", "by hand"), ("verify", "by hand")]
    assert world.verify(code=0)["different"] is False


def test_a_repair_waits_for_a_hold_as_any_rollout_does(world: World) -> None:
    alter(world.auditors["crm"].online)
    world("hold", "uat", "--reason", "price tests")
    told = world.verify("--repair", "--timeout", "10s", code=13)
    assert (told["repair"]["timed_out"], told["systems"][0]["mended"]) == (True, False)
    rollout = told["repair"]["rollout"]
    assert rollout["state"] == "converged"
    assert FLIP not in [kind for kind, data, _ in world.members["crm"].commands if data["rollout_id"] == rollout["id"]]
    world("release-hold", "uat")
    wait_for(lambda: world("rollout", rollout["id"], "--json").json["rollout"]["state"] == "online", what="the repair")


def test_a_repair_of_what_is_gone_by_now_is_refused(world: World) -> None:
    alter(world.auditors["crm"].online)

    def deploy(question: dict[str, Any]) -> None:
        if question["depth"] == "rows":
            with transaction(world.engine) as conn:
                state = environments.lock(conn, "uat")
                environments.save(conn, state, replace(state, shown=3), at=now())

    world.auditors["crm"].before = deploy
    refused = world("verify", "uat", "--repair", code=11)
    assert "release 2 was verified, and 3 is online by now: nothing was mended" in refused.err
    assert "Verify again" in refused.err


def test_what_cannot_be_mended_by_this_rollout_is_said(world: World) -> None:
    till = world.auditors["till"].online
    till.release, till.tables = 1, rows(1)
    till.tables["items"].pop()
    told = world.verify("--repair", code=10)
    assert told["repair"] is None
    assert told["systems"][2]["remedy"] == (
        "not mended: it shows release 1, not 2: `distributor refresh uat --systems till` brings it level first"
    )
    assert found(told, "till")["items"] == [({"sku": "P999"}, "missing")]


def test_rows_in_a_system_that_never_had_a_release(world: World) -> None:
    pos = world.auditors["pos"].online
    pos.release, pos.mapping, pos.tables = 0, "", {"items": [("X", None)]}
    told = world.verify(code=10)
    [items, prices] = told["systems"][1]["tables"]
    assert (items["release"], items["rows_expected"], items["rows_stored"]) == (0, 0, 1)
    assert items["rows"] == [{"key": {"column 1": "X"}, "what": "extra"}]
    assert prices["buckets"] == []


def _old_slot_stays(world: World, answer: tuple[str, dict[str, Any]] | None) -> None:
    """Both slots of crm are altered; the repair mends the one that goes online, and the other one is not mended."""
    crm = world.auditors["crm"]
    alter(crm.online)

    def mended(member: FakeMember, command: dict[str, Any]) -> Any:
        crm.shadow, crm.online = crm.online, Slot(2, crm.online.mapping, rows(2))
        return member.healthy(command)

    world.members["crm"].replies[REPAIR] = mended
    world.members["crm"].replies[SETTLE] = lambda *_: answer


def test_an_old_slot_that_refuses_is_not_mended(world: World) -> None:
    why = "items has no primary key"
    _old_slot_stays(world, ("pd.member.refused.v1", {"reason": "permanent", "text": why}))
    ran = world("verify", "uat", "--json", "--repair", code=1)
    [crm, *_] = ran.json["systems"]
    assert ran.json["repair"]["rollout"]["state"] == "online"
    assert (crm["mended"], crm["mending"], crm["rows_loaded"]) == (False, "failed", None)
    assert crm["remedy"] == f"not mended: its old slot does not follow: {why}"
    assert "old slot refused" in ran.err
    with transaction(world.engine) as conn:
        [(_, ended)] = verifications.known(conn, "uat")
        kinds = [entry.kind for entry in timeline.entries(conn, environment="uat")]
    assert ended
    assert ended.outcome.endswith(f"crm is not mended: its old slot does not follow: {why}")
    assert "settle-refused" in kinds


def test_an_old_slot_that_does_not_answer_in_time_is_not_mended(world: World) -> None:
    _old_slot_stays(world, None)
    told = world.verify("--repair", "--timeout", "3s", code=12)
    assert (told["systems"][0]["mended"], told["systems"][0]["mending"]) == (False, "late")
    assert told["systems"][0]["remedy"] == "not mended: its old slot did not follow within 3 s"


def test_what_is_still_wrong_after_the_repair_is_not_mended(world: World) -> None:
    _old_slot_stays(world, ("pd.member.settled.v1", {"release": 2}))
    told = world.verify("--repair", code=1)
    [crm, *_] = told["systems"]
    assert (crm["mended"], crm["mending"]) == (False, "failed")
    assert "not mended: shadow items: " in crm["remedy"]
    assert "buckets differ from release 2" in crm["remedy"]


def test_a_rollout_that_was_abandoned_mended_nothing(world: World) -> None:
    alter(world.auditors["crm"].online)
    world.members["crm"].replies[REPAIR] = lambda *_: ("pd.member.refused.v1", {"reason": "permanent", "text": "no"})
    told = world.verify("--repair", code=12)
    assert told["systems"][0]["remedy"] == "not mended: the rollout was abandoned"
    assert told["systems"][0]["mending"] == "failed"


def test_a_key_that_no_text_has_stops_nobody(world: World) -> None:
    world.auditors["crm"].online.tables["items"].append(("\0b'BY-HAND'", None))
    world.auditors["pos"].online.tables["items"].pop(0)

    def mended(member: FakeMember, command: dict[str, Any]) -> Any:
        auditor = world.auditors[member.system]
        auditor.online = auditor.shadow = Slot(2, auditor.online.mapping, rows(2))
        return member.healthy(command)

    for system in ("crm", "pos"):
        world.members[system].replies |= {REPAIR: mended, STAGE: mended}
    told = world.verify("--repair", code=0)
    assert found(told, "crm")["items"] == [({"sku": "\0b'BY-HAND'"}, "extra")]
    assert [system["remedy"] for system in told["systems"]] == [
        "rows are stored under keys that no release can have: all was loaded anew", "1 row mended", "",
    ]  # fmt: skip


def test_detached_members_are_named(world: World) -> None:
    world("detach", "uat", "till", "--reason", "moved out")
    told = world.verify(code=0)
    assert (told["detached"], [system["system"] for system in told["systems"]]) == (["till"], ["crm", "pos"])
    assert "till is detached: not audited" in world("verify", "uat").out
    assert world.verify("--systems", "crm", code=0)["detached"] == []


def test_a_list_of_no_systems_is_no_list_of_all(world: World) -> None:
    for verb in ("verify", "refresh"):
        assert "',,' names nothing" in world(verb, "uat", "--systems", ",,", code=2).err
