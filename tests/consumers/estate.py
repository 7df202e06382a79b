"""One member as a real process, a coordinator played by the test, and readers that know nothing of adapters."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pika
import psycopg

from distributor.mapping.compiled import expected_of
from distributor.mapping.tables import SystemMapping, TableMapping
from distributor.model.certificate import Certificate
from distributor.model.manifest import Manifest
from distributor.rollout.member_row import MemberRow
from distributor.wire import topology
from distributor.wire.envelope import from_amqp, to_amqp
from distributor.wire.messages import (
    AbandonCommand,
    AuditCommand,
    AuditDepth,
    AuditedReport,
    FlipCommand,
    MemberCommand,
    MemberReport,
    Message,
    ProgressReport,
    RepairCommand,
    RevertCommand,
    SettleCommand,
    StageCommand,
    StalledReport,
)
from tests.consumers.catalogue import Catalogue, Content
from tests.support import wait_for

ENVIRONMENT, SYSTEM = "prod", "crm"
MAPPING = SystemMapping(
    system=SYSTEM,
    tables=(TableMapping(dataset="products", into="items"), TableMapping(dataset="prices", into="prices")),
)


def certified(manifest: Manifest) -> Certificate:
    """What a member with MAPPING holds of a release, by the release itself."""
    certificate = expected_of(MAPPING, manifest)
    assert certificate is not None
    return certificate


Report = TypeVar("Report", bound=Message)


class Coordinator:
    """Sends commands and collects reports, with pika and nothing else."""

    def __init__(self, url: str, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        for exchange, kind in topology.EXCHANGES:
            self._channel.exchange_declare(exchange, kind, durable=True)
        queues = (topology.member_queue(ENVIRONMENT, SYSTEM), topology.coordinator_queue(), topology.dead_queue())
        for queue in queues:
            self._channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
            for exchange, key in queue.bindings:
                self._channel.queue_bind(queue.name, exchange, key)
        self.reports: list[MemberReport | StalledReport | AuditedReport] = []
        self._passed = 0
        self.traceparents: list[str | None] = []

    def close(self) -> None:
        self._connection.close()

    def send(
        self, command: MemberCommand | AuditCommand, *, id: str | None = None, traceparent: str | None = None
    ) -> str:
        """Publishes a command as the relay does; returns its message id."""
        now = datetime.now(UTC)
        envelope = to_amqp(
            command,
            id=id or uuid.uuid4().hex,
            source="/coordinator",
            time=now,
            traceparent=traceparent,
            sent_at=now,
        )
        self.send_raw(envelope.headers, envelope.body)
        return envelope.message_id

    def send_raw(self, headers: dict[str, str], body: bytes) -> None:
        self._channel.basic_publish(
            topology.COMMANDS,
            topology.command_key(ENVIRONMENT, SYSTEM),
            body,
            pika.BasicProperties(content_type="application/json", delivery_mode=2, headers=dict(headers)),
            mandatory=True,
        )

    def expect(
        self, kind: type[Report], matches: Callable[[Report], bool] = lambda _: True, timeout: float = 20
    ) -> Report:
        """The next report of this kind that matches; everything before it (progress, hello, …) is passed over."""
        try:
            return wait_for(lambda: self.seen(kind, matches), timeout, kind.TYPE)
        except AssertionError as error:
            raise AssertionError(f"{error}; instead: {self.reports}") from None

    def seen(self, kind: type[Report], matches: Callable[[Report], bool] = lambda _: True) -> Report | None:
        """Like `expect`, without waiting."""
        self._collect()
        while self._passed < len(self.reports):
            report = self.reports[self._passed]
            self._passed += 1
            if isinstance(report, kind) and matches(report):
                return report
        return None

    def dead_letter(self) -> tuple[dict[str, object], bytes]:
        """Waits for a dead letter: headers and body."""

        def arrived() -> tuple[dict[str, object], bytes] | None:
            method, properties, body = self._channel.basic_get(topology.DEAD_QUEUE, auto_ack=True)
            return (dict(properties.headers or {}), body or b"") if method and properties else None

        return wait_for(arrived, what="a dead letter")

    def _collect(self) -> None:
        while True:
            method, properties, body = self._channel.basic_get(topology.COORDINATOR_QUEUE, auto_ack=True)
            if method is None or properties is None:
                return
            received = from_amqp(properties.headers, properties.content_type, body or b"")
            message: Message = received.message
            assert isinstance(message, MemberReport | StalledReport | AuditedReport)
            if not isinstance(message, ProgressReport | StalledReport | AuditedReport):
                self.traceparents.append(received.traceparent)
            self.reports.append(message)

    # Commands, with the rollout's id made from its epoch.

    def stage(self, epoch: int, release: int, *, from_release: int = 0, void: tuple[int, ...] = ()) -> StageCommand:
        return StageCommand(
            environment=ENVIRONMENT,
            system=SYSTEM,
            epoch=epoch,
            rollout_id=f"r{epoch}",
            release=release,
            manifest=self.catalogue.manifests[release],
            from_release=from_release,
            void=void,
        )

    def repair(self, epoch: int, release: int, repair: str) -> RepairCommand:
        """Stage what is online already, with a repair list."""
        stage = self.stage(epoch, release, from_release=release)
        return RepairCommand(**stage.model_dump(), repair=repair)

    def audit(
        self,
        depth: AuditDepth = AuditDepth.BUCKETS,
        tables: dict[str, tuple[int, ...]] | None = None,
        *,
        shadow: bool = False,
    ) -> list[AuditedReport]:
        """Asks what is stored, and gives all parts of the answer."""
        command = AuditCommand(
            environment=ENVIRONMENT,
            system=SYSTEM,
            audit_id=uuid.uuid4().hex,
            depth=depth,
            shadow=shadow,
            tables=tables or {},
        )
        self.send(command)
        return self.audited(command)

    def audited(self, command: AuditCommand) -> list[AuditedReport]:
        """All parts of one answer, in order."""
        found = [self.expect(AuditedReport, lambda report: report.audit_id == command.audit_id)]
        while len(found) < found[0].parts:
            found.append(self.expect(AuditedReport, lambda report: report.audit_id == command.audit_id))
        assert [report.part for report in found] == list(range(1, found[0].parts + 1))
        return found

    def flip(self, epoch: int, release: int, *, after: float = 0.0, within: float = 60.0) -> FlipCommand:
        at = datetime.now(UTC) + timedelta(seconds=after)
        return FlipCommand(
            environment=ENVIRONMENT,
            system=SYSTEM,
            epoch=epoch,
            rollout_id=f"r{epoch}",
            release=release,
            at=at,
            not_after=at + timedelta(seconds=within),
        )

    def revert(self, epoch: int, of: int) -> RevertCommand:
        return RevertCommand(environment=ENVIRONMENT, system=SYSTEM, epoch=epoch, rollout_id=f"r{epoch}", of=of)

    def abandon(self, epoch: int) -> AbandonCommand:
        return AbandonCommand(environment=ENVIRONMENT, system=SYSTEM, epoch=epoch, rollout_id=f"r{epoch}")

    def settle(self, epoch: int, release: int) -> SettleCommand:
        return SettleCommand(
            environment=ENVIRONMENT,
            system=SYSTEM,
            epoch=epoch,
            rollout_id=f"r{epoch}",
            release=release,
            manifest=self.catalogue.manifests[release],
        )


class Member:
    """A consumer process and its store. `adapter` is postgresql or sqlite; `url` as in the config."""

    def __init__(self, directory: Path, adapter: str, url: str, amqp_url: str, catalogue: Catalogue) -> None:
        self.directory = directory
        self.adapter = adapter
        self.url = url
        self.log = directory / "consumer.log"
        self.config = directory / "distributor.toml"
        self.config.write_text(
            f"""
[master]
url = "postgresql://nobody@localhost/none"
[master.datasets.products]
table = "products"
[master.datasets.prices]
table = "prices"
[ledger]
url = "postgresql://nobody@localhost/none"
[broker]
url = "{amqp_url}"
[store]
path = "{catalogue.path}"
[environments.{ENVIRONMENT}]
audit = "never"
[environments.{ENVIRONMENT}.systems.{SYSTEM}]
adapter = "{adapter}"
url = "{url}"
state = "{directory / "state"}"
[[systems.{SYSTEM}.tables]]
dataset = "products"
into = "items"
[[systems.{SYSTEM}.tables]]
dataset = "prices"
"""
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "") -> None:
        """Starts the process; `fault` is a point at which it kills itself."""
        environment = {**os.environ, "DISTRIBUTOR_FAULT": fault}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.consumers.run_consumer", str(self.config), ENVIRONMENT, SYSTEM],
                env=environment,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )

    def died(self) -> int:
        """Waits until the process is gone: its exit code."""
        assert self.process is not None
        return self.process.wait(20)

    def stop(self) -> int:
        """Ends the process as an operator does: its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def shows(self) -> int:
        """The release that readers are told."""
        return int(self._query("select release from distributor_release")[0][0] or 0)

    def content(self) -> Content:
        """What readers find, as canonical text, asked of the store directly."""
        return {
            "products": {tuple(row) for row in self._query(self._texts("sku, name, weight, active", "items"))},
            "prices": {tuple(row) for row in self._query(self._texts("sku, currency, amount", "prices"))},
        }

    def audits(self, mode: str) -> None:
        """Sets `audit` in the config, for the next start."""
        self.config.write_text(self.config.read_text().replace('audit = "never"', f'audit = "{mode}"'))

    def alter(self, slot: str, table: str, change: str) -> int:
        """Changes a slot by hand, "online" or "shadow": `change` follows `UPDATE <table>`. Returns how many rows."""
        if self.adapter == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=10)) as connection:
                active = connection.execute("SELECT row ->> 'active' FROM _distributor_member").fetchone()[0]
                changed = connection.execute(f'UPDATE "_{_slot(active, slot)}_{table}" {change}').rowcount
                connection.commit()
                return changed
        with psycopg.connect(self.url) as postgresql:
            active = postgresql.execute("SELECT slot FROM distributor.active").fetchall()[0][0]
            return postgresql.execute(f"UPDATE distributor_{_slot(active, slot)}.{table} {change}".encode()).rowcount

    def alter_shadow(self, table: str, change: str) -> None:
        """Changes one row of the slot that nobody reads, by hand: `change` follows `UPDATE <table>`."""
        assert self.alter("shadow", table, change) == 1

    def row(self) -> MemberRow:
        """The member's row, as it lies in its store."""
        if self.adapter == "sqlite":
            statement = "SELECT row FROM _distributor_member"
        else:
            statement = "SELECT row::text FROM distributor.member"
        return MemberRow.model_validate_json(str(self._query(statement)[0][0]))

    def lose_view(self, name: str) -> None:
        """Drops what readers look at, by hand."""
        if self.adapter == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=10)) as connection:
                connection.execute(f"DROP VIEW {name}")
        else:
            with psycopg.connect(self.url) as postgresql:
                postgresql.execute(f"DROP VIEW {name}".encode())

    def _texts(self, columns: str, table: str) -> str:
        if self.adapter == "sqlite":
            typed = {"active": "case active when 1 then 'true' when 0 then 'false' end"}
        else:
            numbers = {name: f"trim_scale({name})::text" for name in ("weight", "amount")}
            typed = {**numbers, "active": "active::text"}
        return f"select {', '.join(typed.get(name, name) for name in columns.split(', '))} from {table}"

    def _query(self, statement: str) -> list[tuple[str | None, ...]]:
        if self.adapter == "sqlite":
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=10)) as connection:
                rows = connection.execute(statement).fetchall()
            # Decimals of up to 15 digits are numbers there.
            return [
                tuple(
                    f"{Decimal(repr(v)).normalize():f}" if isinstance(v, float) else v if v is None else str(v)
                    for v in row
                )
                for row in rows
            ]
        with psycopg.connect(self.url) as postgresql:
            return postgresql.execute(statement).fetchall()


def _slot(active: str, slot: str) -> str:
    return active if slot == "online" else "b" if active == "a" else "a"
