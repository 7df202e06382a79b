"""Releases form one chain, whoever publishes at the same time."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from distributor.errors import PublishConflictError, RefusedError
from distributor.ledger import releases
from distributor.ledger.engine import transaction
from distributor.model.certificate import Certificate
from distributor.model.manifest import Counts, Manifest
from tests.support import wait_for

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def manifest(release: int, parent: str | None) -> Manifest:
    return Manifest(
        release=release,
        parent_release=release - 1,
        parent=parent,
        created_at=AT,
        schemas=(),
        chunks=(),
        counts={"products": Counts(inserts=2, deletes=1)},
        certificate=Certificate(),
    )


def test_the_chain_grows_and_is_announced(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        assert releases.head(conn) is None
        releases.publish_lock(conn)
        releases.insert_release(conn, manifest(1, None), "aa", rows=3, traceparent="00-trace")
        releases.insert_release(conn, manifest(2, "aa"), "bb", rows=4)
        newest = releases.head(conn)
        assert newest is not None
        assert (newest.number, newest.manifest, newest.parent, newest.created_at) == (2, "bb", "aa", AT)
        assert newest.counts == {"products": Counts(inserts=2, deletes=1)}
        assert [r.number for r in releases.releases(conn)] == [2, 1]
        assert releases.manifests(conn, {0, 1, 2}) == {0: None, 1: "aa", 2: "bb"}
        sent = conn.execute(text("SELECT body, traceparent FROM ledger.outbox ORDER BY id")).all()
    assert [json.loads(body) for body, _ in sent] == [
        {"release": 1, "manifest": "aa", "rows": 3},
        {"release": 2, "manifest": "bb", "rows": 4},
    ]
    assert sent[0].traceparent == "00-trace"


@pytest.mark.parametrize(("number", "parent"), [(1, None), (2, "other"), (3, "aa"), (5, "bb")])
def test_only_the_heads_child_is_taken(ledger: Engine, number: int, parent: str | None) -> None:
    with transaction(ledger) as conn:
        releases.insert_release(conn, manifest(1, None), "aa", rows=0)
    with pytest.raises(PublishConflictError), transaction(ledger) as conn:
        releases.insert_release(conn, manifest(number, parent), "cc", rows=0)
    with transaction(ledger) as conn:
        assert [r.number for r in releases.releases(conn)] == [1]


def test_a_zombie_publisher_loses(ledger: Engine) -> None:
    """Two that both read the same head, without the lock: the second one waits for the first, and changes nothing."""
    outcome: list[str] = []

    def second() -> None:
        try:
            with transaction(ledger) as conn:
                releases.insert_release(conn, manifest(1, None), "zombie", rows=0)
        except PublishConflictError as error:
            outcome.append(error.what)

    def someone_waits() -> bool:
        with transaction(ledger) as other:
            return bool(other.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())

    with transaction(ledger) as conn:
        releases.insert_release(conn, manifest(1, None), "aa", rows=0)
        thread = threading.Thread(target=second)
        thread.start()
        wait_for(someone_waits, what="the second publisher's waiting")
    thread.join()
    assert len(outcome) == 1
    with transaction(ledger) as conn:
        assert [r.manifest for r in releases.releases(conn)] == ["aa"]
        assert conn.execute(text("SELECT count(*) FROM ledger.outbox")).scalar_one() == 1


def test_unknown_releases_are_refused(ledger: Engine) -> None:
    with transaction(ledger) as conn:
        with pytest.raises(RefusedError, match="there is none yet"):
            releases.release(conn, 7)
        with pytest.raises(RefusedError, match="release 7"):
            releases.manifests(conn, {0, 7})
