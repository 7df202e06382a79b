"""Makes what the estate of compose.yaml starts from: databases, a sample catalogue, the ledger, triggers, a key.

Running it again changes nothing that is there. It waits for the servers, which need some seconds to come up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
from psycopg import sql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from distributor.demo import catalogue

SERVER = "postgresql://distributor:{password}@postgres:5432/{database}"
DATABASES = ("master", "ledger", "prod_sales", "prod_crm", "uat_crm")
KEY = Path("/var/lib/distributor/admin.key")


@retry(
    retry=retry_if_exception_type(psycopg.OperationalError),
    stop=stop_after_delay(120),
    wait=wait_fixed(1),
    reraise=True,
)
def connect(database: str) -> psycopg.Connection:
    """A connection, as soon as the server takes it."""
    url = SERVER.format(password=os.environ["PASSWORD"], database=database)  # noqa: TID251
    return psycopg.connect(url, autocommit=True)


def say(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"setup: {text}\n")


def distributor(*words: str) -> str:
    """Runs a verb and gives what it wrote."""
    ended = subprocess.run(["distributor", *words], check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        sys.exit(f"setup: distributor {' '.join(words)} ended with {ended.returncode}")
    return ended.stdout


def main() -> None:
    """Everything, in order."""
    with connect("postgres") as server:
        there = {name for (name,) in server.execute("SELECT datname FROM pg_database")}
        for name in DATABASES:
            if name not in there:
                server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    products = int(os.environ.get("PRODUCTS", "20000"))  # noqa: TID251
    with connect("master") as master:
        if master.execute("SELECT to_regclass('public.products')").fetchone() == (None,):
            say(f"a sample catalogue of {products:,} products")
            catalogue.create(master, products, seed=1)
    say("the ledger and the master's triggers")
    distributor("init")
    distributor("capture", "install")
    if not KEY.exists():
        made = distributor("key", "create", "admin", "--role", "admin", "--reason", "the first key", "--json")
        key = json.loads(made)["secret"]
        KEY.touch(mode=0o600)
        KEY.write_text(key)
        say("the key to sign in with, told this once: " + key)
    say("done")


if __name__ == "__main__":
    main()
