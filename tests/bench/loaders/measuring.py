"""Adapter and peer in turns, on the same deltas."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from consumers.adapters.base import Adapter, Judges
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import holding
from tests.adapters.test_files import FilesSeat
from tests.adapters.test_mariadb import MariaDBSeat
from tests.adapters.test_parquet import ParquetSeat
from tests.adapters.test_postgresql import PostgreSQLSeat
from tests.adapters.test_redis import RedisSeat
from tests.adapters.test_sqlite import SQLiteSeat
from tests.bench.figures import Figure, median
from tests.bench.loaders.peers import FilePeer, MariaDBPeer, ParquetPeer, Peer, PostgreSQLPeer, RedisPeer, SQLitePeer
from tests.bench.loaders.rows import TABLE, Delta, base, delta
from tests.services.mariadb import running_mariadb
from tests.services.postgresql import running_postgresql
from tests.services.redis import running_redis

SIZES, REPEATS = (10_000, 100_000), 3
TARGETS = {"postgresql": 2.0, "mariadb": 2.0, "sqlite": 3.0, "parquet": 3.0, "redis": 3.0}
"""Adapter → how many times the peer's time it may take; flat files cost what the file costs."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Medians of one adapter and one size of delta, in milliseconds."""

    adapter: str
    rows: int
    ours_ms: float
    peer_ms: float

    @property
    def ratio(self) -> float:
        """Ours beside the peer's."""
        return round(self.ours_ms / self.peer_ms, 2)

    @property
    def rows_per_second(self) -> int:
        """Rows of the delta that the adapter loads, reads back and certifies in a second."""
        return round(self.rows / self.ours_ms * 1000)


@dataclass(frozen=True, slots=True)
class Loaders:
    """All of them. `table_rows` is the size of the table that the deltas change."""

    table_rows: int
    loaders: tuple[Loader, ...]

    def as_json(self) -> dict[str, object]:
        """With what is derived."""
        found = [{**asdict(one), "ratio": one.ratio, "rows_per_second": one.rows_per_second} for one in self.loaders]
        return {"table_rows": self.table_rows, "loaders": found}

    def figures(self) -> Iterator[Figure]:
        """Rows of the table of targets."""
        for one in self.loaders:
            target = TARGETS.get(one.adapter)
            name = f"{one.adapter}: {one.rows:,} of {self.table_rows:,} rows, beside its own bulk loader"
            value = f"{one.ratio}× ({one.ours_ms:,.0f} and {one.peer_ms:,.0f} ms; {one.rows_per_second:,} rows/s)"
            yield Figure(name, value, f"≤ {target:g}×" if target else "", one.ratio <= target if target else None)


def measure(directory: Path, table_rows: int, say: Callable[[str], None]) -> Loaders:
    """Every adapter on a fresh store; sizes that are more than half of the table are left out."""
    directory.mkdir(parents=True, exist_ok=True)
    found: list[Loader] = []
    for name, place in _PLACES.items():
        with ExitStack() as stack:
            own = directory / name
            own.mkdir()
            adapter, peer = place(stack, own)
            stack.callback(adapter.close)
            adapter.prepare(ENVIRONMENT, SYSTEM, (TABLE,))
            for load in (lambda d, a=adapter: _ours(a, d), peer.apply):
                load(base(table_rows))
            for round_, size in enumerate((s for s in SIZES if s <= table_rows // 2), 1):
                loader = _turns(name, adapter, peer, table_rows, size, round_ * 10)
                say(f"{name}: {size:,} rows in {loader.ours_ms:,.0f} ms, its bulk loader {loader.peer_ms:,.0f} ms")
                found.append(loader)
    return Loaders(table_rows, tuple(found))


def _turns(name: str, adapter: Adapter, peer: Peer, known: int, size: int, first: int) -> Loader:
    ours: list[float] = []
    theirs: list[float] = []
    for repeat in range(REPEATS):
        change = delta(known, size, first + repeat)
        for load, times in ((lambda d: _ours(adapter, d), ours), (peer.apply, theirs)):
            begun = time.perf_counter()
            load(change)
            times.append((time.perf_counter() - begun) * 1000)
    return Loader(name, size, median(ours), median(theirs))


def _ours(adapter: Adapter, change: Delta) -> None:
    """As a consumer does it: judged, written, read back, committed with the member's row."""
    with adapter.loading("b") as loading:
        for piece in change.batches():
            assert not (isinstance(adapter, Judges) and adapter.unfit(piece))
            loading.apply(piece)
        assert loading.commit(lambda row: holding(row, "b", 1)) is not None


def _postgresql(stack: ExitStack, directory: Path) -> tuple[Adapter, Peer]:
    server = stack.enter_context(running_postgresql(directory))
    return PostgreSQLSeat(server.create("ours")).adapter(), PostgreSQLPeer(server.create("theirs"))


def _mariadb(stack: ExitStack, directory: Path) -> tuple[Adapter, Peer]:
    server = stack.enter_context(running_mariadb(directory))
    return MariaDBSeat(server.create("ours")).adapter(), MariaDBPeer(server.create("theirs"), directory)


def _redis(stack: ExitStack, directory: Path) -> tuple[Adapter, Peer]:
    server = stack.enter_context(running_redis(directory))
    return RedisSeat(server.url).adapter(), RedisPeer(server.url)


_PLACES: dict[str, Callable[[ExitStack, Path], tuple[Adapter, Peer]]] = {
    "postgresql": _postgresql,
    "mariadb": _mariadb,
    "sqlite": lambda _, directory: (SQLiteSeat(directory).adapter(), SQLitePeer(directory)),
    "parquet": lambda _, directory: (ParquetSeat(directory).adapter(), ParquetPeer(directory)),
    "redis": _redis,
    "files": lambda _, directory: (FilesSeat(directory).adapter(), FilePeer(directory)),
}
