"""Foreign tables as datasets, on a PostgreSQL of this machine that knows them; the wheel's does not."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from distributor.errors import BadInputError, DistributorError
from distributor.local.processes import free_port
from distributor.model.manifest import Counts
from tests.capture.master import run
from tests.publishing.estate import Estate, texts
from tests.publishing.test_scans import scanned
from tests.support import wait_for

pytestmark = pytest.mark.services
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
TEXTS = "SELECT sku, name, trim_scale(price)::text FROM remote"


def _binaries() -> Path | None:
    for pattern in PLACES:
        for found in sorted(Path("/").glob(pattern.removeprefix("/")), reverse=True):
            with contextlib.suppress(OSError):
                share = subprocess.run([found / "pg_config", "--sharedir"], capture_output=True, text=True, check=False)
                if (Path(share.stdout.strip()) / "extension" / "postgres_fdw.control").exists():
                    return found
    return None


@pytest.fixture(scope="module")
def with_fdw() -> Iterator[str]:
    """The URL of a server that knows foreign tables."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("this machine has no PostgreSQL with postgres_fdw")
    owner = None
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            owner = pwd.getpwnam("postgres").pw_uid
        if owner is None:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    directory, port = Path(tempfile.mkdtemp(prefix="distributor-fdw-")), free_port()
    if owner is not None:
        os.chown(directory, owner, -1)
    data = directory / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "tester", "--auth", "trust", "--encoding", "UTF8", "--locale", "C"],
        check=True,
        capture_output=True,
        user=owner,
        cwd="/",
    )
    options = ("fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={port}")
    command = [binaries / "postgres", "-D", data, *(part for option in options for part in ("-c", option))]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, user=owner, cwd="/")
    url = f"postgresql://tester@127.0.0.1:{port}/postgres"

    def ready() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2).close()
            return True
        return False

    try:
        wait_for(ready, 60, "the server with foreign tables")
        yield url
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def fresh(with_fdw: str) -> Iterator[Callable[[], str]]:
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex[:12]}")
        run(with_fdw, f"CREATE DATABASE {made[-1]}")
        return with_fdw.replace("/postgres", f"/{made[-1]}")

    yield make
    for name in made:
        run(with_fdw, f"DROP DATABASE {name} WITH (FORCE)")


def _estate(fresh: Callable[[], str], path: Path, remote: str) -> Estate:
    name, port = remote.rsplit("/", 1)[1], remote.rsplit(":", 1)[1].partition("/")[0]
    return Estate.create(
        fresh,
        path / "store",
        {"remote": scanned("remote", "sku")},
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw"
        f" OPTIONS (host '127.0.0.1', port '{port}', dbname '{name}')",
        "CREATE USER MAPPING FOR tester SERVER there OPTIONS (user 'tester')",
        "CREATE FOREIGN TABLE remote (sku text, name text, price numeric(10,2))"
        " SERVER there OPTIONS (table_name 'articles')",
        capture=False,
    )


@pytest.fixture
def remote(fresh: Callable[[], str]) -> str:
    url = fresh()
    run(
        url,
        "CREATE TABLE articles (sku text, name text, price numeric(10,2))",
        "INSERT INTO articles SELECT 'A' || n, 'name ' || n, n FROM generate_series(1, 500) n",
    )
    return url


def test_another_servers_table_is_published_by_its_difference(
    fresh: Callable[[], str], tmp_path: Path, remote: str
) -> None:
    estate = _estate(fresh, tmp_path, remote)
    assert estate.publish().counts == {"remote": Counts(inserts=500)}
    run(
        remote,
        "UPDATE articles SET price = 0.5 WHERE sku IN ('A1', 'A2')",
        "DELETE FROM articles WHERE sku = 'A3'",
        "INSERT INTO articles VALUES ('new', NULL, NULL)",
    )
    assert estate.publish().counts == {"remote": Counts(inserts=1, updates=2, deletes=1)}
    estate.check("remote", texts(remote, TEXTS.replace("remote", "articles")))
    # A reload in one transaction, as the page advises, is none.
    with psycopg.connect(remote) as there:
        there.execute("CREATE TEMP TABLE kept AS SELECT * FROM articles")
        there.execute("DELETE FROM articles")
        there.execute("INSERT INTO articles SELECT * FROM kept")
    assert estate.publish().release is None


def test_a_key_that_is_none_there_is_refused_and_a_server_that_is_away_loses_nothing(
    fresh: Callable[[], str], tmp_path: Path, remote: str
) -> None:
    estate = _estate(fresh, tmp_path, remote)
    estate.publish()
    run(remote, "INSERT INTO articles VALUES ('A1', 'again', 1), (NULL, 'nobody', 2)")
    with pytest.raises(BadInputError, match="does not identify every row"):
        estate.publish()
    run(
        remote,
        "DELETE FROM articles WHERE sku IS NULL OR name = 'again'",
        "UPDATE articles SET name = 'x' WHERE sku = 'A9'",
    )
    run(remote, "ALTER TABLE articles RENAME TO elsewhere")
    with pytest.raises(DistributorError):
        estate.publish()
    run(remote, "ALTER TABLE elsewhere RENAME TO articles")
    assert estate.publish().counts == {"remote": Counts(updates=1)}
    estate.check("remote", texts(remote, TEXTS.replace("remote", "articles")))


def test_a_file_as_a_table(fresh: Callable[[], str], tmp_path: Path) -> None:
    directory = Path(tempfile.mkdtemp(prefix="distributor-fdw-"))
    directory.chmod(0o755)
    try:
        file = directory / "articles.csv"
        file.write_text("sku,name\nA1,one\nA2,two\n")
        file.chmod(0o644)
        estate = Estate.create(
            fresh,
            tmp_path / "store",
            {"listed": scanned("listed", "sku")},
            "CREATE EXTENSION file_fdw",
            "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
            "CREATE FOREIGN TABLE listed (sku text, name text) SERVER files"
            f" OPTIONS (filename '{file}', format 'csv', header 'true')",
            capture=False,
        )
        assert estate.publish().counts == {"listed": Counts(inserts=2)}
        file.write_text("sku,name\nA2,TWO\nA3,three\n")
        assert estate.publish().counts == {"listed": Counts(inserts=1, updates=1, deletes=1)}
        file.unlink()
        with pytest.raises(DistributorError):
            estate.publish()
        file.write_text("sku,name\nA2,TWO\nA3,three\n")
        assert estate.publish().release is None
    finally:
        shutil.rmtree(directory)
