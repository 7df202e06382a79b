"""The ledger's tables for people at the desk: seals, the feed, keys, requests, freezes, triggers, editions."""

from __future__ import annotations

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from distributor.ledger.tables import metadata, time

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("audit_id", BigInteger, nullable=False, unique=True),
    Column("seal", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    time("at", nullable=False),
    Column("kind", Text, nullable=False),
    Column("environment", Text),
    Column("rollout_id", Text),
    Column("member", Text),
    Column("text", Text, nullable=False),
    Column("detail", JSONB),
    Index("events_by_time", "at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("environments", ARRAY(Text), nullable=False),
    time("created_at", nullable=False),
    Column("created_by", Text, nullable=False),
    time("expires_at"),
    time("revoked_at"),
    time("last_used_at"),
    Index("one_living_key_per_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("csrf", Text, nullable=False),
    time("created_at", nullable=False),
    time("expires_at", nullable=False),
)

# The body is an answer as it was sent: bytes, which nobody asks PostgreSQL about.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    time("at", nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    Index("idempotency_keys_by_time", "at"),
)

freezes = Table(
    "freezes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text),
    time("since", nullable=False),
    time("until", nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    time("placed_at", nullable=False),
    time("ended_at"),
    Column("ended_by", Text),
)

refresh_requests = Table(
    "refresh_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    time("requested_at", nullable=False),
    Column("release", Integer),
    time("as_of"),
    Column("systems", ARRAY(Text), nullable=False),
    Column("reset", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("rollout_id", Text),
    Column("verification", Text),
    Column("outcome", Text, nullable=False),
    time("started_at"),
    time("ended_at"),
    Index("refresh_requests_by_environment", "environment", "requested_at"),
)

trigger_rules = Table(
    "trigger_rules",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    time("fired_at"),
    time("decided_at"),
    Column("decision", Text, nullable=False),
    Column("detail", JSONB),
)

trigger_calls = Table(
    "trigger_calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    time("at", nullable=False),
    time("taken_at"),
    Column("outcome", Text, nullable=False),
)

editions = Table(
    "editions",
    metadata,
    Column("policy", Text, primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("manifest", Text, nullable=False),
    time("made_at", nullable=False),
)
