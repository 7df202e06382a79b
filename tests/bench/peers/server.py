"""The peers' own PostgreSQL: a master and six copies of it, with the same settings as the distributor's."""

from __future__ import annotations

from pathlib import Path

import psycopg

from distributor.demo import catalogue
from distributor.local.cluster import wheel_directory
from distributor.local.postgresql import LocalPostgreSQL

COPIES = 6
_WORKERS = {"max_logical_replication_workers": 12, "max_worker_processes": 24, "max_wal_senders": 20}


class PeerServer:
    """Every peer gets fresh databases, copied from one seed. Use as a context; leaving it deletes all."""

    def __init__(self, directory: Path, products: int, seed: int) -> None:
        self.server = LocalPostgreSQL(directory, durable=False)
        self._products, self._seed = products, seed

    def __enter__(self) -> PeerServer:
        self.server.start()
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            for name, value in _WORKERS.items():
                admin.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
            commit_at_once(admin)
        self.server.stop()
        self.server.start()
        self.server.create_database("seed")
        with psycopg.connect(self.server.url("seed"), autocommit=True) as seed:
            catalogue.create(seed, self._products, self._seed)
            # The copies of a distributed table have no foreign keys either: nobody pays for checks here.
            seed.execute("ALTER TABLE prices DROP CONSTRAINT prices_product_id_fkey")
            seed.execute("ALTER TABLE products DROP CONSTRAINT products_category_id_fkey")
            seed.execute(
                "CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " DELETE FROM prices WHERE product_id IN (SELECT product_id FROM before); RETURN NULL; END $$"
            )
            seed.execute("CREATE TRIGGER gone AFTER DELETE ON products REFERENCING OLD TABLE AS before"
                         " FOR EACH STATEMENT EXECUTE FUNCTION gone()")  # fmt: skip
            seed.execute("VACUUM ANALYZE")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.remove()

    @property
    def binaries(self) -> Path:
        """Where `pg_dump` and `psql` of this server's version lie."""
        return wheel_directory() / "bin"

    def databases(self, peer: str, copies: int = COPIES) -> tuple[str, list[str]]:
        """URLs of a master and of its copies, all equal, for one peer."""
        return self._copy(f"{peer}_master"), [self._copy(f"{peer}_{number}") for number in range(1, copies + 1)]

    def drop(self, peer: str) -> None:
        """Drops a peer's databases, so that two peers never need the disk at once."""
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            for name in [f"{peer}_master", *(f"{peer}_{number}" for number in range(1, COPIES + 1))]:
                admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def _copy(self, name: str) -> str:
        with psycopg.connect(self.server.url(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE seed STRATEGY file_copy".encode())
        return self.server.url(name)


def commit_at_once(admin: psycopg.Connection) -> None:
    """Commits write the log at once, in every later session: replication sends nothing before that.

    The same for everybody who is measured; the local server's own default would make replication wait for 200 ms.
    """
    admin.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = on")
