"""docs/first-system.md, walked from its first block to its last: every command, every config, every statement."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import redis

from tests.services.redis import RedisServer
from tests.support import wait_for

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-system.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAID = {
    "check": "all parts will do",
    "publish": "5 rows, makers +2, products +3",
    "plan prod": "articles 2 0 0",
    "verify prod": "every row is as the release has it",
    "changes 2": "~ makers id=1",
    "status": "uat: held by",
    "release-hold uat": "uat",
}
"""Command → what the page says that it shows, blanks put together."""


@dataclass
class Newcomer:
    """Somebody with a checkout, two databases, and this page."""

    home: Path
    databases: dict[str, str]
    places: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> str:
        """One command of the page."""
        words = shlex.split(line)
        assert words[0] == "deploy/run", line
        told = subprocess.run(
            [sys.executable, "-m", "distributor", *words[1:]], cwd=self.home, capture_output=True, text=True,
            timeout=120, env={**os.environ, "COLUMNS": "250"}, check=False,
        )  # fmt: skip
        assert told.returncode == 0, f"{line}: {told.returncode}\n{told.stdout}\n{told.stderr}"
        self.said[" ".join(words[1:])] = " ".join((told.stdout + told.stderr).split())
        return told.stdout

    def start(self, line: str) -> None:
        """A command that stays in a terminal of its own; the same one again replaces it."""
        words = shlex.split(line)[1:]
        self.stop(" ".join(words))
        with (self.home / f"{words[0]}.log").open("wb") as log:
            command = [sys.executable, "-m", "distributor", *words]
            self.running[" ".join(words)] = subprocess.Popen(command, cwd=self.home, stdout=log, stderr=log)
        if words == ["local"]:
            wait_for(lambda: self._local("amqp"), 120, "both servers")
            self.places |= {"LEDGER URL": self._local("postgresql"), "BROKER URL": self._local("amqp")}

    def stop(self, words: str) -> None:
        if process := self.running.pop(words, None):
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def configure(self, text: str) -> None:
        for place, value in self.places.items():
            text = text.replace(f'"{place}"', f'"{value}"')
        assert "HOST" not in text
        with (self.home / "distributor.toml").open("a", encoding="utf-8") as config:
            config.write(text)

    def sql(self, database: str, statements: str) -> str:
        """What the last result sets show, one line per row."""
        shown = []
        before = self._newest() if "serve all" in self.running else None
        with psycopg.connect(self.databases[database]) as conn:
            for statement in filter(str.strip, statements.split(";")):
                cursor = conn.execute(statement.encode())
                shown += [" | ".join(map(str, row)) for row in (cursor.fetchall() if cursor.description else ())]
        if database == "master" and before is not None:
            wait_for(lambda: self._newest() > before, 60, "a release of the running publisher")
        return "\n".join(shown)

    def _newest(self) -> int:
        with psycopg.connect(self.places["LEDGER URL"]) as ledger:
            found = ledger.execute("SELECT coalesce(max(number), 0) FROM ledger.releases").fetchone()
        return int(found[0]) if found else 0

    def _local(self, scheme: str) -> str:
        found = re.search(rf'url = "({scheme}://[^"]+)"', (self.home / "local.log").read_text())
        return found[1] if found else ""


@pytest.fixture
def newcomer(
    tmp_path: Path, database: Callable[[], str], mariadb_database: Callable[[], str], redis_server: RedisServer
) -> Iterator[Newcomer]:
    master, crm = database(), database()
    made = Newcomer(
        tmp_path,
        {"master": master, "crm": crm},
        {
            "postgresql://USER:PASSWORD@HOST:5432/MASTER": master,
            "postgresql://USER:PASSWORD@HOST:5432/CRM": crm,
            "mariadb://USER:PASSWORD@HOST:3306/SHOP": mariadb_database(),
            "redis://:PASSWORD@HOST:6379/0": redis_server.url,
        },
    )
    yield made
    for words in reversed(list(made.running)):
        made.stop(words)
    client = redis.Redis.from_url(redis_server.url)
    for key in list(client.scan_iter("prod.cache*")):
        client.delete(key)
    client.close()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_page_walked_from_top_to_bottom(newcomer: Newcomer) -> None:
    shown = ""
    for language, kind, text in BLOCK.findall(PAGE):
        match language, kind:
            case "sh", "terminal":
                newcomer.start(text)
            case "sh", "":
                for line in text.splitlines():
                    newcomer.run(line)
            case "toml", _:
                newcomer.configure(text)
            case "sql", ("master" | "crm"):
                shown = newcomer.sql(kind, text)
            case "text", "":
                assert shown == text.strip()
            case _:
                pytest.fail(f"nobody knows what to do with a block of {language} {kind}")
    for command, said in SAID.items():
        assert said in newcomer.said[command], (command, newcomer.said[command])
    assert "T-1" in newcomer.said["quarantine list"]

    # The boxes at its end, all in force at once; where their readers look is a matter of the adapters' own tests.
    assert "all parts will do" in newcomer.run("deploy/run check")
    newcomer.start("deploy/run serve all")
    newcomer.run("deploy/run deploy prod")
