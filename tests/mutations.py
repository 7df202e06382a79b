"""`python -m tests.mutations > docs/proof.md`: every mutation on every adapter, and what was found, as a page."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from consumers.conformance.alterations import Damage
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.proof import Trial, Way, tried
from consumers.conformance.seat import Seat
from tests.adapters.test_files import FilesSeat
from tests.adapters.test_mariadb import MariaDBSeat
from tests.adapters.test_parquet import ParquetSeat
from tests.adapters.test_postgresql import PostgreSQLSeat
from tests.adapters.test_redis import RedisSeat
from tests.adapters.test_sqlite import SQLiteSeat
from tests.services.mariadb import running_mariadb
from tests.services.postgresql import running_postgresql
from tests.services.redis import running_redis

_INTRO = """\
# The proof, tested by mutations

Printed by `python -m tests.mutations > docs/proof.md`. Every adapter sits the same test
([`consumers/conformance/proof.py`](../consumers/conformance/proof.py)) as a part of its exam. The test run fails when
one mutation is missed, when one that changes nothing is taken for a difference, or when fewer than 200 are found at
either level. What is expected is computed from [certificates.md](certificates.md) by code that shares nothing with the
product ([`by_the_page.py`](../consumers/conformance/by_the_page.py)). That the test itself notices a proof that is too
weak is tested in `tests/adapters/test_proof.py`.

| way | level | what happens |
|---|---|---|
| written | L2 | a trigger in the store alters rows while a delta is written, and they are read back as they are |
| handed | L2 | the adapter gets another batch than the expectation was made from: a fault of driver or mapping |
| drifted | L2 | rows were altered behind the adapter's back, and the delta overwrites them |
| stored | L3 | rows are altered behind the adapter's back, touched ones and others |

Wherever the altered rows have canonical texts, the certificate that the adapter gives is also compared with theirs, to
the number: what is found is what was done.

L2 reads back the keys that a delta touches. What leaves all of them as they should be (a row that is altered where no
delta looks, one more row under a key of its own) is found by L3 alone; those mutations are not tried as *written* or
*drifted*. Nor does L2 see what alters a row after it was read back, such as a trigger that alters rows of an earlier
batch of the same load.
"""
_SPELLED = """\
## What a store's types cannot keep apart

Two spellings of one value are one value to a type that holds values. There they are not different and must not be found
(`same`). A store that keeps the column as text does tell them apart, and then they are differences like any other
(`found`).
"""
Trials = Mapping[str, Sequence[Trial]]


def page(adapters: Trials) -> str:
    """The whole page."""
    parts = [_INTRO, "## In short\n", "Found / tried.\n", _short(adapters)]
    for name, trials in adapters.items():
        parts += [f"## {name}\n", "Found / tried, by kind of mutation and way.\n", _by_way(trials)]
        parts += ["Found / tried in stored rows (L3), by kind and type of the column.\n", _by_type(trials)]
    return "\n".join([*parts, _SPELLED, _spelled(adapters)])


def _short(adapters: Trials) -> str:
    rows = []
    for name, trials in adapters.items():
        counts = [_found(trial for trial in trials if trial.wanted and trial.way is way) for way in Way]
        same = _wrong(trial for trial in trials if not trial.wanted)
        rows.append([name, str(len({trial.mutation.edits for trial in trials})), *counts, same])
    return _table(["adapter", "mutations", *Way, "no difference, yet found"], rows)


def _by_way(trials: Sequence[Trial]) -> str:
    rows = []
    for damage in Damage:
        mine = [trial for trial in trials if trial.mutation.damage is damage and trial.wanted]
        if mine:
            rows.append([damage.value, *(_found(trial for trial in mine if trial.way is way) for way in Way)])
    return _table(["kind", *Way], rows)


def _by_type(trials: Sequence[Trial]) -> str:
    stored = [trial for trial in trials if trial.way is Way.STORED and trial.wanted]
    types = list(dict.fromkeys(trial.mutation.type for trial in stored))
    cells = {
        damage: [
            _found(trial for trial in stored if (trial.mutation.damage, trial.mutation.type) == (damage, type_))
            for type_ in types
        ]
        for damage in Damage
    }
    return _table(["kind", *types], [[damage.value, *row] for damage, row in cells.items() if any(row)])


def _spelled(adapters: Trials) -> str:
    said: dict[tuple[str, str], dict[str, str]] = {}
    for name, trials in adapters.items():
        for trial in trials:
            if trial.way is Way.STORED and (trial.mutation.damage is Damage.SPELLED or not trial.wanted):
                what = trial.mutation.what if trial.mutation.type != "row" else f"written again: {trial.mutation.what}"
                said.setdefault((trial.mutation.type, what), {})[name] = "found" if trial.differs else "same"
    rows = [[*place, *(answers.get(name, "") for name in adapters)] for place, answers in sorted(said.items())]
    return _table(["type", "spelling", *adapters], rows)


def _found(trials: Iterable[Trial]) -> str:
    counts = Counter(trial.good for trial in trials)
    return f"{counts[True]} / {counts.total()}" if counts else ""


def _wrong(trials: Iterable[Trial]) -> str:
    counts = Counter(trial.good for trial in trials)
    return f"{counts[False]} / {counts.total()}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _trials_on(seat: Seat) -> list[Trial]:
    adapter = seat.adapter()
    try:
        adapter.prepare(ENVIRONMENT, SYSTEM, ())
        return tried(adapter, seat)
    finally:
        adapter.close()


def main() -> int:
    """Prints the page; 1 when a trial ended otherwise than it should."""
    adapters: dict[str, list[Trial]] = {}
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        # A server of another user must be able to walk to it.
        directory.chmod(0o711)
        with running_postgresql(directory) as postgresql:
            adapters["PostgreSQL"] = _trials_on(PostgreSQLSeat(postgresql.create("mutations")))
        adapters["SQLite"] = _trials_on(SQLiteSeat(directory))
        with running_mariadb(directory) as mariadb:
            adapters["MariaDB"] = _trials_on(MariaDBSeat(mariadb.create("mutations")))
            mariadb.drop("mutations")
        with running_redis(directory) as redis:
            seat = RedisSeat(redis.url)
            adapters["Redis"] = _trials_on(seat)
            seat.close()
        adapters["Parquet"] = _trials_on(ParquetSeat(directory))
        adapters["files"] = _trials_on(FilesSeat(directory))
    print(page(adapters), end="")
    bad = [trial for trials in adapters.values() for trial in trials if not trial.good]
    print(*bad, sep="\n", end="\n" if bad else "", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
