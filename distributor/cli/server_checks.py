"""What `check` asks of master, ledger, broker and store."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from distributor.cli.capture import STATES
from distributor.cli.desk import without_password
from distributor.cli.finding import Findings
from distributor.errors import DistributorError
from distributor.settings import Dataset, Settings
from distributor.views.wording import count

if TYPE_CHECKING:
    import psycopg

    from distributor.model.dataset import DatasetSchema

LITTLE_ROOM = 1 << 30
GIGABYTE = 1 << 30


def distributed_shapes(settings: Settings) -> dict[str, DatasetSchema]:
    """The datasets' shapes in the newest release; empty when there is none, or ledger or store cannot tell."""
    from distributor.ledger.engine import ledger_engine, transaction
    from distributor.ledger.releases import head
    from distributor.store.chunks import read_manifest
    from distributor.store.directory import DirectoryStore

    with suppress(DistributorError):
        engine = ledger_engine(settings.ledger.url)
        try:
            with transaction(engine) as conn:
                newest = head(conn)
        finally:
            engine.dispose()
        if newest:
            manifest = read_manifest(DirectoryStore(settings.resolve(settings.store.path)), newest.manifest)
            return {schema.dataset: schema for schema in manifest.schemas}
    return {}


def check_master(
    settings: Settings, shapes: Mapping[str, DatasetSchema], findings: Findings
) -> dict[str, DatasetSchema]:
    """Whether the master answers, and each dataset: table, key, columns that travel as text, triggers, drift.

    Returns the shapes that the next release would have, of the datasets that can be published.
    """
    from distributor.capture import fixed

    coming: dict[str, DatasetSchema] = {}

    with findings.about("master"), fixed.connect(settings.master.url, application="distributor check") as conn:
        findings.ok("master", f"{fixed.where_of(settings.master.url)} answers")
        for name, dataset in settings.master.datasets.items():
            with findings.about(f"master.{name}"):
                coming[name] = _check_dataset(conn, name, dataset, shapes.get(name), findings)
    return coming


def _check_dataset(
    conn: psycopg.Connection, name: str, dataset: Dataset, known: DatasetSchema | None, findings: Findings
) -> DatasetSchema:
    from distributor.capture.inspect import inspect
    from distributor.capture.triggers import CaptureState, state
    from distributor.publishing.drift import settled
    from distributor.quality.lookups import try_rules

    part = f"master.{name}"
    source = inspect(conn, {name: dataset})[name]
    columns = count(len(source.schema.columns), "column")
    findings.ok(part, f"{source.name}: {columns}, key {', '.join(source.schema.key)}")
    if source.as_plain_text:
        findings.note(part, f"columns that travel as plain text: {', '.join(source.as_plain_text)}")
    captured = state(source, conn)
    if captured is not CaptureState.INSTALLED:
        mend = "" if captured in {CaptureState.REPLICATED, CaptureState.SCAN} else "Run `distributor capture install`."
        findings.note(part, STATES[captured.value], mend)
    shape = settled(source, known, dataset.drift)
    if shape.restarts:
        findings.note(part, f"the next release has it in another shape: {'; '.join(shape.restarts)}")
    if shape.ignored:
        findings.note(part, f"left out, as `drift` says: {'; '.join(shape.ignored)}")
    if dataset.rules:
        try_rules(name, dataset, shape.source.schema)
        fit = "fits" if len(dataset.rules) == 1 else "fit"
        findings.ok(part, f"{count(len(dataset.rules), 'quality rule')} {fit} its columns")
    return shape.source.schema


def check_ledger(settings: Settings, findings: Findings) -> None:
    """Whether the ledger answers and is of this program's version."""
    from distributor.ledger.migrate import current, head_revision

    with findings.about("ledger"):
        version, wanted = current(settings.ledger.url), head_revision()
        if version is None:
            findings.problem("ledger", "its tables are not there", "Run `distributor init`.")
        elif version != wanted:
            findings.problem(
                "ledger", f"it is of version {version}, this program of {wanted}", "Run `distributor init`."
            )
        else:
            findings.ok("ledger", f"{without_password(settings.ledger.url)} answers, version {version}")


def check_broker(settings: Settings, findings: Findings) -> None:
    """Whether the broker answers and takes our exchanges and queues."""
    from distributor.messaging.amqp import broker_name, connected

    members = [(name, system) for name, found in settings.environments.items() for system in found.systems]

    # The driver logs what becomes a finding here.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)

    async def declare() -> None:
        async with connected(settings.broker.url, "distributor check") as broker:
            await broker.declare(members)

    with findings.about("broker"):
        asyncio.run(declare())
        findings.ok("broker", f"{broker_name(settings.broker.url)} answers and has all exchanges and queues")


def check_store(settings: Settings, findings: Findings) -> None:
    """Whether the store can be written here, and how much room there is."""
    path = settings.resolve(settings.store.path)
    above = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not above.is_dir():
        findings.problem("store", f"{above} is no directory", "Name a directory in [store] path.")
        return
    if not os.access(above, os.W_OK | os.X_OK):
        findings.problem("store", f"{above} cannot be written by this user", "Mend the rights of the directory.")
        return
    free = shutil.disk_usage(above).free
    text = f"{path} can be written, {free / GIGABYTE:.1f} GiB free"
    if free < LITTLE_ROOM:
        findings.note("store", text, "Make room: a publish that fills the disk fails, and has to be repeated.")
    else:
        findings.ok("store", text)
