"""Who is in the estate, and what each process is called in the matrix."""

from __future__ import annotations

from distributor.demo.catalogue import DATASETS
from distributor.demo.estate_config import SystemPlan

ENVIRONMENT = "prod"
TABLES = {dataset: dataset for dataset in DATASETS}
SYSTEMS = (
    SystemPlan("crm", "postgresql", TABLES),
    SystemPlan("sales", "postgresql", TABLES),
    SystemPlan("pos", "sqlite", TABLES),
    SystemPlan("archive", "sqlite", TABLES, required=False),
)
REQUIRED = frozenset(system.name for system in SYSTEMS if system.required)
COORDINATORS = ("coordinator", "coordinator-2")
PUBLISHER = "publisher"
PROCESSES = (*COORDINATORS, PUBLISHER, *(system.name for system in SYSTEMS))
BROKER, LEDGER, MASTER = "broker", "ledger", "master"
APART = ("master", *(f"{ENVIRONMENT}_{s.name}" for s in SYSTEMS if s.adapter == "postgresql"))
DEADLINES = {"stage_deadline": "10m", "flip_deadline": "3m", "resend_after": "1s"}


def kind_of(process: str) -> str:
    """What a process is, for the matrix."""
    if process in COORDINATORS:
        return "coordinator"
    if process == PUBLISHER:
        return "publisher"
    system = next(system for system in SYSTEMS if system.name == process)
    store = "PostgreSQL" if system.adapter == "postgresql" else "SQLite"
    return f"consumer, {store}" if system.required else f"consumer, {store}, optional"
