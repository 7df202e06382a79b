"""Names of span attributes. Messaging names are still in development upstream: they change here or nowhere."""

from __future__ import annotations

ENVIRONMENT = "distributor.environment"
SYSTEM = "distributor.system"
RELEASE = "distributor.release"
EPOCH = "distributor.epoch"
ROLLOUT = "distributor.rollout.id"
ROLLOUT_STATE = "distributor.rollout.state"
ROWS = "distributor.rows"
EVENT = "distributor.event"
COMMANDS = "distributor.commands"

BATCH_SIZE = "messaging.batch.message_count"
