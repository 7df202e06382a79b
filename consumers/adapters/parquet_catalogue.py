"""What readers look at: a DuckDB file with one view per table, and the same as JSON for everybody else.

    catalog.duckdb    views over read_parquet([…]), by absolute path, and `distributor_release`
    release.json      environment, system, release, flipped_at (UTC), and the files of each table, by relative path

Both name immutable files and are made anew for every flip. Whoever has attached one, or read the other, sees one
release in all tables until they look again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import duckdb

from consumers.adapters.parquet_disk import linked, synced, written
from consumers.adapters.parquet_state import CATALOGUE, RELEASE, RELEASE_FILE, Sight
from consumers.adapters.parquet_text import literal, quoted
from distributor.errors import SystemAlteredError

AGAIN = "its consumer makes it anew when it starts, or stages"
BACK = "The member's consumer puts it back when it starts, or stages."
# Files of the oldest format that all of DuckDB since 1.0 read, in the smallest blocks: they hold a few views.
_FORMAT = "STORAGE_VERSION 'v1.0.0', BLOCK_SIZE 16384"


def make(folder: Path, sight: Sight, directory: Path) -> dict[str, str]:
    """Makes both files in a version's folder; their sha256."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {literal(str(folder / CATALOGUE))} AS made ({_FORMAT})")
        connection.execute("USE made")
        # One transaction, one write.
        connection.execute("BEGIN")
        for statement in _views(sight, directory).values():
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("USE memory")
        connection.execute("DETACH made")
    synced(folder / CATALOGUE)
    told = {
        "environment": sight.environment,
        "system": sight.system,
        "release": sight.release,
        "flipped_at": sight.flipped_at,
        "tables": {name: list(files) for name, (_, files) in sight.tables.items()},
    }
    written(folder / RELEASE_FILE, json.dumps(told, ensure_ascii=False, indent=1).encode())
    return _sums(folder)


def carry(folder: Path, before: Path, seen: dict[str, str]) -> dict[str, str]:
    """Takes both files over from the version before."""
    for name in seen:
        linked(before / name, folder / name)
    return seen


def untouched(folder: Path, seen: dict[str, str]) -> bool:
    """Whether both files are as they were made."""
    try:
        return _sums(folder) == seen
    except OSError:
        return False


def altered(
    folder: Path, seen: dict[str, str], sight: Sight, other: Sight, directory: Path
) -> Iterator[str | SystemAlteredError]:
    """What is not as it was made. Sentences are about what is put back without asking; errors about what is not, for
    it may be somebody's work. `other` is what readers would see of the other slot."""
    if untouched(folder, seen):
        return
    there = _there(folder / CATALOGUE)
    right, wrong = _spelt(sight, directory), _spelt(other, directory)
    for name, view in right.items():
        found = there.get(name.lower())
        if found == view:
            continue
        if found is None:
            yield f"the view {name} is gone from {CATALOGUE}. {AGAIN.capitalize()}."
        elif name == RELEASE and found.startswith("CREATE VIEW"):
            yield f"{RELEASE} tells readers something else, and not release {sight.release}. {BACK}"
        elif found == wrong.get(name):
            yield f"readers of {name} see the slot that is not online by the member's row. {BACK}"
        elif found.startswith("CREATE VIEW"):
            yield SystemAlteredError(
                f"the view {name} was altered: readers see through it what no slot holds",
                where=str(folder / CATALOGUE),
                mend=f"It was not touched. Drop it (DROP VIEW {quoted(name)}); {AGAIN}.",
            )
        else:
            yield _in_the_way(folder, name)
    if _sum(folder / RELEASE_FILE) != seen.get(RELEASE_FILE):
        yield f"{RELEASE_FILE} was altered, or is gone. {BACK}"


def occupied(folder: Path, seen: dict[str, str], names: Collection[str]) -> Iterator[SystemAlteredError]:
    """Which of these names of tables to come somebody has given to something in the catalogue."""
    if names and not untouched(folder, seen):
        there = _there(folder / CATALOGUE)
        yield from (_in_the_way(folder, name) for name in names if name.lower() in there)


def scan(directory: Path, files: tuple[str, ...] | list[str]) -> str:
    """SQL that reads some files of a directory as one table."""
    paths = ", ".join(literal(str(directory / file)) for file in files)
    # Not asked to, DuckDB takes a folder that is called env=prod for a column.
    return f"read_parquet([{paths}], hive_partitioning = false)"


def _views(sight: Sight, directory: Path) -> dict[str, str]:
    at = "NULL" if sight.flipped_at is None else literal(sight.flipped_at.removesuffix("+00:00"))
    row = (
        f"{literal(sight.environment)} AS environment, {literal(sight.system)} AS system,"
        f" CAST({sight.release} AS BIGINT) AS release, CAST({at} AS TIMESTAMP) AS flipped_at"
    )
    views = {RELEASE: f"CREATE VIEW {RELEASE} AS SELECT {row}"}
    for name, (columns, files) in sight.tables.items():
        selected = ", ".join(map(quoted, columns))
        views[name] = f"CREATE VIEW {quoted(name)} AS SELECT {selected} FROM {scan(directory, files)}"
    return views


def _spelt(sight: Sight, directory: Path) -> dict[str, str]:
    """The views as DuckDB writes them into a file; not those of which a file is lost, which is told elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        catalogue = Path(folder) / CATALOGUE
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {literal(str(catalogue))} AS made ({_FORMAT})")
            connection.execute("USE made")
            for statement in _views(sight, directory).values():
                with suppress(duckdb.Error):
                    connection.execute(statement)
        there = _there(catalogue)
    return {name: there[name.lower()] for name in _views(sight, directory) if name.lower() in there}


def _there(catalogue: Path) -> dict[str, str]:
    """What a catalogue has: name in lower case → the statement that made it. Nothing, when it cannot be read."""
    try:
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {literal(str(catalogue))} AS there (READ_ONLY)")
            found = connection.execute(
                "SELECT lower(view_name), sql FROM duckdb_views() WHERE database_name = 'there' AND NOT internal"
                " UNION ALL SELECT lower(table_name), sql FROM duckdb_tables() WHERE database_name = 'there'"
            ).fetchall()
    except duckdb.Error:
        return {}
    return dict(found)


def _in_the_way(folder: Path, name: str) -> SystemAlteredError:
    return SystemAlteredError(
        f"{name} is already there, and was not made here",
        where=str(folder / CATALOGUE),
        mend="It was not touched. Rename it, or give the readers' table another name (into).",
    )


def _sums(folder: Path) -> dict[str, str]:
    return {name: _sum(folder / name) for name in (CATALOGUE, RELEASE_FILE)}


def _sum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""
