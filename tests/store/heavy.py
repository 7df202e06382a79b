"""A chain that is heavier than memory should be, and a process of its own that composes it and is weighed.

`python -m tests.store.heavy STORE MANIFEST RELEASES [OCTETS]`: with OCTETS, that is all the memory it may still take;
with `base` instead, it makes a base.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

from distributor.errors import StoreError
from distributor.store.bases import base_of
from distributor.store.chain import walk
from distributor.store.compose import net_delta
from distributor.store.directory import DirectoryStore
from tests.store.releases import Releases
from tests.store.rows import SCHEMA, Row, as_table, difference, state

NOTE = "A long text that every row has, as descriptions of products are. " * 16


def heavy_chain(path: Path, releases: int, rows: int) -> tuple[str, int]:
    """Releases of `rows` changes each, no key twice: about 2 kB per change. Returns manifest and weight in memory."""
    made = Releases(DirectoryStore(path), chunk_rows=rows)
    weight = 0
    for number in range(releases):
        changes: dict[tuple[str, ...], tuple[str, Row | None, Row | None]] = {}
        for at in range(number * rows, (number + 1) * rows):
            before: Row = ("1.00", str(at), "EUR", NOTE)
            changes["EUR", str(at)] = ("update", before, ("2.00", *before[1:]))
        table = as_table(changes)
        weight += table.nbytes
        made.add(table)
    assert made.manifests[-1] is not None
    return made.manifests[-1], weight


def heavy_history(path: Path, releases: int, rows: int) -> tuple[str, int]:
    """Releases of `rows` new rows each, about 1 kB per row. Returns the newest manifest and the weight of all rows."""
    made = Releases(DirectoryStore(path), chunk_rows=rows)
    weight = 0
    everything: list[Row] = []
    for number in range(releases):
        new: list[Row] = [("1.00", str(at), "EUR", NOTE) for at in range(number * rows, (number + 1) * rows)]
        everything += new
        table = as_table(difference({}, state(new)))
        weight += table.nbytes
        # Only the newest one is made a base of.
        made.add(table, everything if number == releases - 1 else ())
    assert made.manifests[-1] is not None
    return made.manifests[-1], weight


def main(path: str, manifest: str, releases: str, octets: str = "") -> None:
    """Prints how many rows the net has and the peak of this process in MB, or the error."""
    store = DirectoryStore(Path(path))
    if octets == "base":
        print(base_of(store, int(releases), manifest).base.rows, int(_status("VmHWM")) // 1024)
        return
    if octets:
        taken = int(_status("VmSize")) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(octets), resource.RLIM_INFINITY))
    try:
        chain = walk(store, manifest, int(releases), None, 0)
        print(sum(table.num_rows for table in net_delta(store, chain, SCHEMA)), int(_status("VmHWM")) // 1024)
    except StoreError as error:
        print(error)


def _status(name: str) -> str:
    # Not getrusage: its peak is that of the process that started this one, where that was larger.
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return found[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
