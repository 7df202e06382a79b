"""The ledger's tables; those of the desk are in desk_tables.py. Only migrations create them; a test keeps both
descriptions equal."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "ledger"
OUTBOX_CHANNEL = "distributor_outbox"
RELEASES_CHANNEL = "distributor_releases"

metadata = MetaData(schema=SCHEMA)


def time(name: str, *, nullable: bool = True) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


releases = Table(
    "releases",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("manifest", Text, nullable=False, unique=True),
    Column("parent", Text),
    time("created_at", nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("counts", JSONB, nullable=False),
    Column("schema_fingerprint", Text, nullable=False),
    Column("traceparent", Text),
)

environments = Table(
    "environments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", JSONB, nullable=False),
    Column("version", BigInteger, nullable=False),
    time("updated_at"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("release", Integer, nullable=False),
    Column("from_release", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    time("requested_at", nullable=False),
    time("started_at"),
    time("converged_at"),
    time("decided_at"),
    time("flip_at"),
    time("reverting_at"),
    time("ended_at"),
    Column("outcome", Text, nullable=False),
    Column("skew_ms", Double),
    Column("skew_uncertainty_ms", Double),
    Column("body", JSONB, nullable=False),
    Index(
        "one_active_rollout_per_environment",
        "environment",
        unique=True,
        postgresql_where=text("state IN ('staging', 'converged', 'flipping', 'reverting')"),
    ),
    Index("rollouts_by_environment", "environment", "requested_at"),
)

timeline = Table(
    "timeline",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("rollout_id", Text),
    Column("environment", Text, nullable=False),
    time("at", nullable=False),
    Column("kind", Text, nullable=False),
    Column("member", Text),
    Column("text", Text, nullable=False),
    Column("detail", JSONB),
    Column("traceparent", Text),
    Index("timeline_by_rollout", "rollout_id", "id"),
    Index("timeline_by_environment", "environment", "id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", Text, nullable=False, unique=True),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text),
    Column("body", LargeBinary, nullable=False),
    Column("traceparent", Text),
    time("created_at", nullable=False),
    time("due_at", nullable=False),
    time("sent_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Index("outbox_unsent", "id", postgresql_where=text("sent_at IS NULL")),
)

inbox = Table(
    "inbox",
    metadata,
    Column("message_id", Text, primary_key=True),
    time("received_at", nullable=False),
    Column("type", Text, nullable=False),
    Column("traceparent", Text),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time("at", nullable=False),
    Column("origin", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("type", Text),
    Column("reason", Text, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("content_type", Text),
    Column("body", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    time("at", nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("environment", Text),
    Column("detail", JSONB),
)

processes = Table(
    "processes",
    metadata,
    Column("role", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    time("last_seen", nullable=False),
    Column("detail", JSONB, nullable=False),
)

member_progress = Table(
    "member_progress",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("rollout_id", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("rows_done", BigInteger, nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("rate", Double, nullable=False),
    time("at", nullable=False),
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    time("requested_at", nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("release", Integer, nullable=False),
    time("ended_at"),
    Column("outcome", Text, nullable=False, server_default=text("''")),
    Column("detail", JSONB),
    Index("verifications_by_environment", "environment", "requested_at"),
)

# The body is the report as it came: megabytes of sums, which nobody asks PostgreSQL about.
audit_answers = Table(
    "audit_answers",
    metadata,
    Column("audit_id", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("depth", Text, primary_key=True),
    Column("parts", Integer, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("verification", Text, nullable=False),
    time("at", nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("audit_answers_by_time", "at"),
)

member_doubts = Table(
    "member_doubts",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("table", Text, primary_key=True),
    Column("release", Integer),
    Column("text", Text, nullable=False),
    time("since", nullable=False),
    time("seen_at", nullable=False),
)

member_stalls = Table(
    "member_stalls",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("rollout_id", Text, nullable=False),
    Column("phase", Text, nullable=False),
    time("since", nullable=False),
    Column("waiting_for", Text, nullable=False),
    Column("mend", Text, nullable=False),
    time("at", nullable=False),
)

expected_certificates = Table(
    "expected_certificates",
    metadata,
    Column("manifest", Text, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("certificate", Text, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("key", ARRAY(Text), primary_key=True),
    Column("release", Integer, nullable=False),
    Column("system", Text, nullable=False),
    Column("table", Text, nullable=False),
    Column("column", Text, nullable=False),
    Column("value", Text),
    Column("why", Text, nullable=False),
    time("since", nullable=False),
    Column("let_pass", Text),
)

variants = Table(
    "variants",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("manifest", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    time("made_at", nullable=False),
)
