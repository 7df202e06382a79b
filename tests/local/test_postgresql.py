"""The local PostgreSQL: private, complete, recoverable, and gone without a trace."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from distributor.errors import UnreachableError
from distributor.local.postgresql import LocalPostgreSQL
from distributor.local.processes import is_free
from tests.local.watching import alive, family, owner, ports
from tests.support import wait_for

pytestmark = pytest.mark.services


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone()
    return row[0] if row else None


def test_stopping_leaves_no_process_and_no_port(state: Path) -> None:
    with LocalPostgreSQL(state / "one") as server:
        processes, pid = family(server.pid), server.pid
        assert ports(pid) == {("127.0.0.1", server.port)}
        if os.geteuid() == 0:
            assert processes[0].uids().effective != 0
        port = server.port
    assert alive(processes) == []
    assert is_free(port)


def test_settings_suit_capture_and_a_product(state: Path) -> None:
    with LocalPostgreSQL(state / "one") as server:
        assert ask(server.url(), "SHOW wal_level") == "logical"
        assert ask(server.url(), "SHOW fsync") == "on"
        assert ask(server.url(), "SHOW server_encoding") == "UTF8"
        assert ask(server.url(), "SELECT lower('ÄÖÜ')") == "äöü"
        password = urlsplit(server.url()).password or ""
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url().replace(password, "guessed"))


def test_committed_rows_and_the_address_survive_a_kill(state: Path) -> None:
    server = LocalPostgreSQL(state / "one").start()
    shop = server.create_database("shop")
    with psycopg.connect(shop) as connection:
        connection.execute("CREATE TABLE product (id int); INSERT INTO product VALUES (42)")
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: server.pid == 0, what="the server's death")
    server.stop()
    with LocalPostgreSQL(state / "one") as again:
        assert again.create_database("shop") == shop
        assert ask(shop, "SELECT id FROM product") == 42


def test_two_servers_stand_side_by_side(state: Path) -> None:
    with LocalPostgreSQL(state / "one") as one, LocalPostgreSQL(state / "two") as two:
        one.create_database("only_in_one")
        assert ask(two.url(), "SELECT count(*) FROM pg_database WHERE datname = 'only_in_one'") == 0


def test_a_directory_in_use_is_refused(state: Path) -> None:
    with LocalPostgreSQL(state / "one") as server:
        with pytest.raises(UnreachableError, match="another process"):
            LocalPostgreSQL(state / "one").start()
        assert ask(server.url(), "SELECT 1") == 1


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_its_owner(state: Path, deadly: signal.Signals) -> None:
    with owner("postgresql", state / "one") as (process, pids):
        processes = family(*pids)
        process.send_signal(deadly)
        wait_for(lambda: not alive(processes), what="the server's end")
    with LocalPostgreSQL(state / "one") as server:
        assert ask(server.url(), "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_data_lies_elsewhere_where_the_servers_user_cannot_walk(state: Path) -> None:
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    server = LocalPostgreSQL(closed / "one", durable=False).start()
    data = Path((closed / "one" / "data-lies-in").read_text().strip())
    assert ask(server.url(), "SELECT 1") == 1
    assert data.is_dir()
    assert closed.stat().st_mode & 0o777 == 0o700
    server.remove()
    assert not data.exists()
    assert not (closed / "one").exists()
