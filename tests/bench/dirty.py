"""How long a dirtied environment takes to come clean to the next release, beside a refresh of a clean one.

Two PostgreSQL systems. Somebody has altered rows in the tables that readers look at, spread over all of them; every
time both slots of every system are audited afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg

from distributor.ledger import refresh_requests, verifications
from distributor.ledger.engine import transaction
from distributor.ledger.refresh_requests import RefreshRequest, RequestState
from distributor.requests import refreshing
from distributor.requests.verifications import begin_verification
from distributor.verification.drilling import verify
from distributor.verification.findings import Outcome
from tests.bench.figures import Figure, median
from tests.bench.lab import ENVIRONMENT, SIX, Lab, running_lab
from tests.bench.stored import Desk, desk_of

SYSTEMS = SIX[:2]
DIRTY_ROWS, CHANGED_ROWS, REPEATS = 1_000, 1_000, 3
MOST = 5.0


@dataclass(frozen=True, slots=True)
class Dirty:
    """Milliseconds from the request until every system showed the release: medians. `looked_ms` of the reset's is what
    the look at the stores took. `rows` is how many a system has, `dirtied` how many of them were altered."""

    systems: int
    rows: int
    dirtied: int
    changed_rows: int
    clean_ms: float
    reset_ms: float
    looked_ms: float
    right: bool

    @property
    def ratio(self) -> float:
        """How much dearer the dirtied one is."""
        return round(self.reset_ms / self.clean_ms, 2)

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        name = f"refresh by {self.changed_rows:,} rows of a clean environment, {self.systems} × {self.rows:,} rows"
        yield Figure(name, f"{self.clean_ms:,.0f} ms")
        name = f"  dirtied in {self.dirtied:,} rows of each system, with --reset"
        value = f"{self.reset_ms:,.0f} ms (looking at it {self.looked_ms:,.0f} ms), {self.ratio}×"
        yield Figure(name, value, f"< {MOST:g}×", self.ratio < MOST)
        yield Figure("  every row of both slots right afterwards", "yes" if self.right else "no", "yes", self.right)


def measure(directory: Path, products: int, dirty_rows: int, seed: int, say: Callable[[str], None]) -> Dirty:
    """Both, in turns, on an estate of their own."""
    clean, reset, looked, right = [], [], [], True
    rows = min(CHANGED_ROWS, products // 10)
    with running_lab(directory, products, seed, say=say, systems=SYSTEMS, follow="manual") as lab, desk_of(lab) as desk:
        stored = _stored(desk)
        for number in range(REPEATS):
            changed, took, _ = _refreshed(lab, desk, rows, reset=False)
            clean.append(took)
            dirtied = _dirty(desk, dirty_rows)
            _, took, request = _refreshed(lab, desk, rows, reset=True)
            reset.append(took)
            looked.append(_looked_ms(desk, request))
            lab.wait_settled()
            right &= _is_right(desk)
            say(
                f"refresh {number + 1} of {REPEATS}: clean {clean[-1]:,.0f} ms, dirtied {took:,.0f} ms,"
                f" of which looking {looked[-1]:,.0f} ms"
            )
    return Dirty(len(SYSTEMS), stored, dirtied, changed, median(clean), median(reset), median(looked), right)


def _refreshed(lab: Lab, desk: Desk, rows: int, *, reset: bool) -> tuple[int, float, RefreshRequest]:
    """Rows of the next release, milliseconds from the request until every system shows it, and the request."""
    target = desk.newest().number + 1
    batch = lab.change(rows)
    lab.wait_until(lambda: desk.newest().number >= target, "the next release")
    begun = time.perf_counter()
    asked = refreshing.request(
        desk.engine, desk.settings, desk.store, ENVIRONMENT, release=target, reset=reset, by="bench", reason="measured"
    )
    took = lab.wait_for(target, begun)

    def found() -> RefreshRequest:
        with transaction(desk.engine) as conn:
            request = refresh_requests.request(conn, asked)
        assert request is not None
        return request

    lab.wait_until(lambda: not found().state.open, "the end of the request")
    if found().state is not RequestState.DONE:
        raise RuntimeError(found().outcome)
    lab.wait_settled()
    return 2 * batch.products if batch.products else rows, took, found()


def _dirty(desk: Desk, rows: int) -> int:
    """Alters rows in the online tables of every system behind its back; how many, of each."""
    altered = set()
    for member in desk.settings.environment(ENVIRONMENT).systems.values():
        with psycopg.connect(member.url) as store:
            slot = store.execute("SELECT slot FROM distributor.active").fetchall()[0][0]
            count = 0
            for table, edit in (("products", "brand = 'by hand'"), ("prices", "list_price = -1")):
                [(most,)] = store.execute(f"SELECT max(product_id) FROM distributor_{slot}.{table}".encode()).fetchall()
                step = max(1, 2 * most // rows)
                query = f"UPDATE distributor_{slot}.{table} SET {edit} WHERE product_id % {step} = 0"
                count += store.execute(query.encode()).rowcount
            altered.add(count)
    [found] = altered
    return found


def _is_right(desk: Desk) -> bool:
    """Whether both slots of every system are as their release says."""
    asked = begin_verification(desk.engine, desk.settings, ENVIRONMENT, shadow=True, by="bench", reason="measured")
    found = verify(
        desk.engine, desk.settings, desk.store, asked, shadow=True, patience=timedelta(minutes=10), hear=lambda *_: None
    )
    verified = all(member.outcome is Outcome.VERIFIED and len(member.tables) == 6 for member in found.members)
    return verified and not found.differing


def _stored(desk: Desk) -> int:
    [(_, member), *_] = desk.settings.environment(ENVIRONMENT).systems.items()
    with psycopg.connect(member.url) as store:
        slot = store.execute("SELECT slot FROM distributor.active").fetchall()[0][0]
        tables = ("products", "prices", "categories")
        counts = [store.execute(f"SELECT count(*) FROM distributor_{slot}.{table}".encode()) for table in tables]
        return sum(int(count.fetchall()[0][0]) for count in counts)


def _looked_ms(desk: Desk, request: RefreshRequest) -> float:
    """From the question to the finding."""
    with transaction(desk.engine) as conn:
        known = verifications.known(conn, ENVIRONMENT)
    [(asked, ended)] = [(asked, ended) for asked, ended in known if asked.id == request.verification]
    assert ended is not None
    return (ended.at - asked.requested_at).total_seconds() * 1000
