"""The local MariaDB: private, recoverable, and gone without a trace."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pymysql
import pytest

from distributor.local import apt, mariadb
from distributor.local.mariadb import LocalMariaDB, choose_mariadb, find_mariadbd
from distributor.local.processes import is_free
from tests.local.watching import alive, family, owner, ports
from tests.services.mariadb import MariaDBServer, connected
from tests.support import wait_for

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(find_mariadbd() is None, reason="no mariadbd on this machine"),
]


def run(url: str, statement: str) -> tuple[tuple[object, ...], ...]:
    with connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_what_was_committed_survives_a_kill_and_stopping_leaves_nothing(state: Path) -> None:
    with LocalMariaDB(state / "one") as server:
        url = server.create_database("shop")
        run(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()

    with LocalMariaDB(state / "one") as server:
        assert server.create_database("shop") == url
        assert run(url, "SELECT answer FROM kept") == ((42,),)
        processes, listening = family(server.pid), ports(server.pid)
        assert {address for address, _ in listening} == {"127.0.0.1"}
        server.drop_database("shop")
    assert alive(processes) == []
    assert all(is_free(port) for _, port in listening)
    server.remove()
    assert not (state / "one").exists()


def test_nobody_comes_in_without_the_password(state: Path, mariadb_server: MariaDBServer) -> None:
    with LocalMariaDB(state / "two", durable=False) as server:
        for user in ("root", "distributor", "mysql"):
            url = f"mariadb://{user}:@127.0.0.1:{server.port}/mysql"
            with pytest.raises(pymysql.OperationalError, match="denied"):
                connected(url)
        assert urlsplit(server.url()).netloc != urlsplit(mariadb_server.admin_url).netloc


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_the_server_ends_with_its_owner(state: Path, deadly: signal.Signals) -> None:
    with owner("mariadb", state / "one") as (process, pids):
        processes = family(*pids)
        process.send_signal(deadly)
        wait_for(lambda: not alive(processes), what="the server's end")
    with LocalMariaDB(state / "one") as server:
        assert run(server.url(), "SELECT 1") == ((1,),)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_data_lies_elsewhere_where_the_servers_user_cannot_walk(state: Path) -> None:
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    server = LocalMariaDB(closed / "one", durable=False).start()
    shelf = Path((closed / "one" / "data-lies-in").read_text().strip())
    assert run(server.url(), "SELECT 1") == ((1,),)
    assert shelf.is_dir()
    assert closed.stat().st_mode & 0o777 == 0o700
    server.remove()
    assert not shelf.exists()
    assert not (closed / "one").exists()


def test_a_machine_without_the_server_gets_it_or_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    installed: list[str] = []

    def install(package: str, announce: Callable[[str], None], log: Path, *, thing: str = "", unit: str = "") -> None:
        installed.append(package)
        announce(unit)

    monkeypatch.setattr(mariadb, "find_mariadbd", lambda: Path("/usr/sbin/mariadbd") if installed else None)
    monkeypatch.setattr(apt, "can_install", lambda: False)
    with pytest.raises(mariadb.UnreachableError, match="Install mariadb-server"):
        choose_mariadb(tmp_path, announce=said.append)
    monkeypatch.setattr(apt, "can_install", lambda: True)
    monkeypatch.setattr(apt, "install_package", install)
    assert isinstance(choose_mariadb(tmp_path, announce=said.append), LocalMariaDB)
    assert (installed, said) == (["mariadb-server"], ["mariadb"])
