"""Promotion takes exactly what was found right elsewhere, or says why it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from distributor.errors import RefusedError, UsageError
from distributor.ledger import audit, doubts, environments, releases, rollouts, variants, verifications
from distributor.ledger.doubts import Doubt
from distributor.ledger.engine import ledger_engine, transaction
from distributor.ledger.verifications import Ended, Verification
from distributor.model.certificate import Certificate, certify
from distributor.model.manifest import Counts, Manifest
from distributor.requests.promotion import promote
from distributor.rollout.state import Cause, Member, Requirement, Rollout, RolloutState, Timing
from distributor.settings import Settings
from distributor.store.chunks import write_manifest
from distributor.store.directory import DirectoryStore
from tests.coordination.conftest import PRODUCTS, ledger_url

__all__ = ["ledger_url"]

NOW = datetime.now(UTC)


@dataclass
class Estate:
    """Environments uat, which shows release 1, and prod, which is empty."""

    settings: Settings
    engine: Engine
    store: DirectoryStore

    def promote(self, source: str = "uat", target: str = "prod") -> str:
        return promote(self.engine, self.settings, self.store, source, target, by="ann", reason="tried")

    def shows(self, environment: str, **more: Any) -> None:
        with transaction(self.engine) as conn:
            state = environments.lock(conn, environment)
            members = {"crm": Member(Requirement.REQUIRED, shows=more.get("shown", state.shown))}
            environments.save(conn, state, replace(state, members=members, **more), at=NOW)

    def verified(self, at: datetime, release: int = 1, **found: Any) -> None:
        """A verification of uat, of its only system."""
        made = Verification(f"v{at.timestamp()}", "uat", at, "ann", "", release)
        with transaction(self.engine) as conn:
            verifications.begin(conn, made)
            detail = {"crm": {"outcome": "verified", "why": "", "differing": [], **found}}
            verifications.end(conn, made.id, Ended(at, "told", detail))


@pytest.fixture
def estate(ledger_url: str, tmp_path: Path) -> Iterator[Estate]:
    systems = {"systems": {"crm": {"adapter": "sqlite", "url": "sqlite:///x"}}}
    settings = Settings.model_validate(
        {
            "master": {"url": "postgresql://nowhere/master", "datasets": {"products": {"table": "products"}}},
            "ledger": {"url": ledger_url},
            "broker": {"url": "amqp://nowhere/"},
            "store": {"path": str(tmp_path / "store")},
            "environments": {"uat": systems, "prod": {**systems, "approvals": {"needed": 1, "of": ["promote"]}}},
        }
    )
    store, engine = DirectoryStore(settings.store.path), ledger_engine(ledger_url)
    with transaction(engine) as conn:
        parent = None
        for number in (1, 2):
            manifest = Manifest(
                release=number,
                parent_release=number - 1,
                parent=parent,
                created_at=NOW,
                schemas=(PRODUCTS,),
                chunks=(),
                counts={"products": Counts()},
                certificate=Certificate(tables={"products": certify("products", [0], [["A-1"]])}),
            )
            parent = write_manifest(store, manifest)
            releases.insert_release(conn, manifest, parent, rows=1)
    found = Estate(settings, engine, store)
    found.shows("uat", shown=1)
    found.shows("prod")
    yield found
    engine.dispose()


DIFFERING = [{"slot": "online", "table": "products", "buckets": [1], "rows": 1}]


def test_exactly_what_is_shown_there_and_not_the_newest(estate: Estate) -> None:
    asked = estate.promote()
    with transaction(estate.engine) as conn:
        record = rollouts.rollout(conn, asked)
        [entry] = audit.records(conn)
    assert record is not None
    assert (record.environment, record.rollout.release, record.rollout.cause) == ("prod", 1, Cause.OPERATOR)
    assert record.rollout.approvals_needed == 1
    assert (entry.who, entry.what, entry.why) == ("ann", "promote", "tried")
    assert entry.detail == {"release": 1, "rollout": asked, "from": "uat"}


def test_what_was_found_wrong_is_not_promoted_until_it_was_found_right_or_mended(estate: Estate) -> None:
    estate.verified(NOW, differing=DIFFERING)
    with pytest.raises(RefusedError, match="found differences: crm, online products"):
        estate.promote()
    estate.verified(NOW + timedelta(seconds=1), outcome="silent")
    with pytest.raises(RefusedError, match="found differences"):
        estate.promote()
    estate.verified(NOW + timedelta(seconds=2))
    estate.promote()
    estate.verified(NOW + timedelta(seconds=3), differing=DIFFERING)
    mended = Rollout(
        "r", 1, Cause.REPAIR, "ann", "", NOW, frozenset({"crm"}), frozenset(), {}, Timing(),
        state=RolloutState.ONLINE, ended_at=NOW + timedelta(seconds=4),
    )  # fmt: skip
    estate.shows("uat", last=mended)
    estate.promote()
    estate.verified(NOW + timedelta(seconds=5), release=9, differing=DIFFERING)
    estate.promote()


def test_a_slot_in_doubt_speaks_against_it(estate: Estate) -> None:
    with transaction(estate.engine) as conn:
        doubts.note(conn, Doubt("uat", "crm", "online", "products", 1, "1 row stored, 2 expected", NOW, NOW))
    with pytest.raises(RefusedError, match="a slot was altered there: crm, online slot: 1 row stored"):
        estate.promote()


def test_an_environment_that_shows_nothing_certain_has_nothing_to_give(estate: Estate) -> None:
    with pytest.raises(RefusedError, match="shows no release yet"):
        estate.promote("prod", "uat")
    with pytest.raises(UsageError, match="to itself"):
        estate.promote("uat", "uat")
    with pytest.raises(UsageError, match="no environment 'sit'"):
        estate.promote("uat", "sit")
    estate.shows("uat", blocked="members know of epochs that the ledger forgot")
    with pytest.raises(RefusedError, match="not known: members know of epochs"):
        estate.promote()
    flipping = Rollout(
        "abcdefghij", 2, Cause.OPERATOR, "ann", "", NOW, frozenset({"crm"}), frozenset(), {}, Timing(),
        state=RolloutState.FLIPPING,
    )  # fmt: skip
    estate.shows("uat", blocked="", active=flipping)
    with pytest.raises(RefusedError, match="changing over: rollout abcdefgh is flipping"):
        estate.promote()


def test_another_variant_is_another_content(estate: Estate) -> None:
    with transaction(estate.engine) as conn:
        plain = releases.release(conn, 1).manifest
        variants.put(conn, "uat", 1, "another manifest", 2, NOW)
    with pytest.raises(RefusedError, match="2 rows are held back in uat, and 0 would be in prod"):
        estate.promote()
    with transaction(estate.engine) as conn:
        assert conn.execute(text("SELECT count(*) FROM ledger.rollouts WHERE environment = 'prod'")).scalar_one() == 0
        assert variants.manifest(conn, "prod", 1) == plain
