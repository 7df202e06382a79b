"""The data of each message. A published v1 is frozen: new fields come in a new type. Times are UTC."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from distributor.model.certificate import Bucket
from distributor.model.unfit import Unfit
from distributor.rollout.events import RefusalReason


class Message(BaseModel):
    """The data of a CloudEvent; `TYPE` is its type."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    TYPE: ClassVar[str]


class ReleaseAnnounced(Message):
    """A release exists. Rows do not travel here: `manifest` is the sha256 of its manifest in the store."""

    TYPE = "pd.release.announced.v1"
    release: int
    manifest: str
    rows: int


class TriggerCall(Message):
    """Take an environment to the newest release, by a trigger of its own that is on = "message".

    `by` and `reason` are kept in the audit. Anybody may send it; the same event (`source` and `id`) calls once.
    """

    TYPE = "pd.trigger.call.v1"
    environment: str = Field(min_length=1, max_length=40)
    trigger: str = Field(min_length=1, max_length=40)
    by: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)


class MemberCommand(Message):
    """What every command carries. (epoch, rollout_id) is its identity."""

    environment: str
    system: str
    epoch: int
    rollout_id: str


class StageCommand(MemberCommand):
    """Load a release into the shadow."""

    TYPE = "pd.member.stage.v1"
    release: int
    manifest: str | None
    from_release: int
    void: tuple[int, ...] = ()


class RepairCommand(StageCommand):
    """Stage; slots that an audit found altered are mended with the repair list `repair` (its sha256 in the store)."""

    TYPE = "pd.member.repair.v1"
    repair: str


class FlipCommand(MemberCommand):
    """Put the shadow online. `at` and `not_after` are in the member's own clock."""

    TYPE = "pd.member.flip.v1"
    release: int
    at: AwareDatetime
    not_after: AwareDatetime


class RevertCommand(MemberCommand):
    """Go back to the slot that was flipped away from under epoch `of`."""

    TYPE = "pd.member.revert.v1"
    of: int


class AbandonCommand(MemberCommand):
    """Close the epoch."""

    TYPE = "pd.member.abandon.v1"


class SettleCommand(MemberCommand):
    """Bring the old slot up to the online release."""

    TYPE = "pd.member.settle.v1"
    release: int
    manifest: str | None


class AuditDepth(StrEnum):
    """How finely an audit tells what is stored: sums per bucket, sums per leaf, or single rows."""

    BUCKETS = "buckets"
    LEAVES = "leaves"
    ROWS = "rows"


class AuditCommand(Message):
    """Say what is stored. It changes no slot and belongs to no epoch; lost, it is asked again, `audit_id` the same.

    `tables` is empty for everything in BUCKETS; else table → buckets (for LEAVES) or leaves (for ROWS) to tell of.
    """

    TYPE = "pd.member.audit.v1"
    environment: str
    system: str
    audit_id: str
    depth: AuditDepth
    shadow: bool = False
    tables: dict[str, tuple[int, ...]] = {}


class MemberReport(Message):
    """What every report carries.

    `shows` and `shadow` are the releases of both slots (None: torn). The three times measure the member's clock:
    `command_sent_at` is the coordinator's clock as stamped on the command that this answers, the others are the
    member's.
    """

    environment: str
    system: str
    epoch: int
    rollout_id: str
    floor: int
    shows: int
    shadow: int | None
    command_sent_at: AwareDatetime | None = None
    command_received_at: AwareDatetime | None = None
    reported_at: AwareDatetime


IDLE = "idle"
"""The phase of a progress report when nothing goes on: the member only says that it lives."""


class ProgressReport(MemberReport):
    """How far a load is; in the phase `idle` there is none, and the member only says that it lives."""

    TYPE = "pd.member.progress.v1"
    phase: str
    rows_done: int
    rows_total: int
    seconds: float


class StagedReport(MemberReport):
    """The shadow holds the release. `tables`: rows and lanes per table; `certificate`: the digest over all buckets."""

    TYPE = "pd.member.staged.v1"
    release: int
    mapping: str
    certificate: str
    tables: dict[str, Bucket]
    rows_applied: int
    phases: dict[str, float]


class RefusedReport(MemberReport):
    """The command was not carried out, and why."""

    TYPE = "pd.member.refused.v1"
    reason: RefusalReason
    text: str


class FlippedReport(MemberReport):
    """The release is online since `flipped_at` (the member's clock)."""

    TYPE = "pd.member.flipped.v1"
    release: int
    flipped_at: AwareDatetime


class RevertedReport(MemberReport):
    """The member shows `shows` again."""

    TYPE = "pd.member.reverted.v1"
    of: int


class HelloReport(MemberReport):
    """Start or reconnect: both slots and the epoch."""

    TYPE = "pd.member.hello.v1"
    flipped_epoch: int | None
    mapping: str


class SettledReport(MemberReport):
    """Both slots hold the online release."""

    TYPE = "pd.member.settled.v1"
    release: int


class StalledReport(Message):
    """A load does not get on: what it waits for, as its store says it, and what would help.

    `since` is the member's clock when the phase began; `waiting_for` names the blocking session and its query where
    the store can tell. Empty `waiting_for`: it gets on again.
    """

    TYPE = "pd.member.stalled.v1"
    environment: str
    system: str
    epoch: int
    rollout_id: str
    phase: str
    since: AwareDatetime
    waiting_for: str
    mend: str = ""
    reported_at: AwareDatetime


class UnfitReport(Message):
    """Rows of a release that a member cannot take: its mapping fails on them, or its store cannot hold them.

    Nothing of the release was loaded. `manifest` is the sha256 that the command named, `total` how many rows there
    are, `rows` the first of them.
    """

    TYPE = "pd.member.unfit.v1"
    environment: str
    system: str
    epoch: int
    rollout_id: str
    release: int
    manifest: str | None
    total: int
    rows: tuple[Unfit, ...]
    reported_at: AwareDatetime


class AuditedReport(Message):
    """One table of one slot as an audit found it, read in one snapshot; `part` of `parts`, counted from 1.

    `release` is what the slot holds by the member's row (None: torn). `sums` are per bucket or leaf; `rows` are
    (key as canonical texts, first lane, second lane), lanes as 16 hex digits. `doubt`: why the member does not trust
    the slot any more. `error`: why the audit could not be made; then nothing else is told.
    """

    TYPE = "pd.member.audited.v1"
    environment: str
    system: str
    audit_id: str
    depth: AuditDepth
    part: int
    parts: int
    slot: Literal["online", "shadow"] = "online"
    release: int | None = None
    mapping: str = ""
    table: str = ""
    sums: dict[int, Bucket] = {}
    rows: tuple[tuple[tuple[str | None, ...], str, str], ...] = ()
    doubt: str = ""
    error: str = ""
    seconds: float = 0.0
    reported_at: AwareDatetime


COMMANDS: tuple[type[MemberCommand], ...] = (
    StageCommand,
    RepairCommand,
    FlipCommand,
    RevertCommand,
    AbandonCommand,
    SettleCommand,
)
REPORTS: tuple[type[MemberReport], ...] = (
    HelloReport,
    ProgressReport,
    StagedReport,
    RefusedReport,
    FlippedReport,
    RevertedReport,
    SettledReport,
)
NOTICES: tuple[type[Message], ...] = (StalledReport, UnfitReport, AuditedReport)
_ALL: tuple[type[Message], ...] = (ReleaseAnnounced, *COMMANDS, AuditCommand, *REPORTS, *NOTICES, TriggerCall)
TYPES: dict[str, type[Message]] = {message.TYPE: message for message in _ALL}
