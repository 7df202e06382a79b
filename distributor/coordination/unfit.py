"""What a coordinator does with rows that a member cannot take: holds them back, and asks for the release again."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection

from distributor.errors import DistributorError, RefusedError
from distributor.ledger import audit, environments, rollouts, timeline
from distributor.ledger.engine import first_line
from distributor.ledger.rollouts import INSTEAD
from distributor.model.certificate import EMPTY_TABLE
from distributor.requests.contents import BY, hold_back
from distributor.requests.promotion import promoted_from
from distributor.requests.rollouts import ask
from distributor.rollout.state import CALLED_OFF, RolloutState
from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.chunks import read_manifest
from distributor.store.editions import store_of
from distributor.telemetry.clock import now
from distributor.wire.messages import RefusedReport, UnfitReport

_HELD = "rows held back"


def hear_unfit(conn: Connection, settings: Settings, store: Store, report: UnfitReport) -> None:
    """Holds the rows back, if the budget allows; the environment itself is told by the member's answer.

    That answer may have come before: another coordinator may have taken it.
    """
    environments.lock(conn, report.environment)
    at = now()
    detail: dict[str, object] = {"release": report.release, "system": report.system}
    if not (become := _over_the_budget(settings, store, report)):
        hold_back(conn, report.environment, report.system, report.release, report.rows)
        become = "they are held back"
        detail[_HELD] = report.total
        record = audit.AuditRecord(
            at, BY, "held rows back", str(report.rows[0]), report.environment, {**detail, "rows": report.total}
        )
        audit.record(conn, record)
    text = f"{report.system} cannot take {report.total:,} rows of release {report.release}: {become}"
    entry = timeline.Entry("unfit", text, report.rollout_id, report.system)
    timeline.write(conn, report.environment, at, [entry], note=timeline.MemberNote(report.system, detail))
    ask_again(conn, settings, store, report)


def ask_again(conn: Connection, settings: Settings, store: Store, report: RefusedReport | UnfitReport) -> None:
    """After a rollout was given up because a member named unfit rows: the same request, for all that can be taken."""
    state = environments.lock(conn, report.environment)
    ended = state.last
    if ended is None or ended.id != report.rollout_id or ended.state is not RolloutState.ABANDONED:
        return
    if state.active or state.queue or ended.outcome.startswith(CALLED_OFF):
        return
    # A member that was ended before its answer says it all once more.
    told = {
        entry.member: int(str(entry.detail.get(_HELD, 0)))
        for entry in timeline.entries(conn, rollout_id=ended.id)
        if entry.kind == "unfit" and entry.detail
    }
    if not (rows := sum(told.values())):
        return
    reason = f"{rows:,} rows held back, {INSTEAD} {ended.id}"
    try:
        if source := promoted_from(conn, report.environment, ended.id):
            raise RefusedError(f"it would be other content than {source} shows", where=report.environment)
        with conn.begin_nested():
            asked = ask(
                conn,
                settings,
                store,
                report.environment,
                release=ended.release,
                cause=ended.cause,
                by=BY,
                reason=reason,
                systems=ended.required | ended.optional,
                approvals=ended.approvals_needed,
            )
            again = rollouts.rollout(conn, asked)
            if again is not None and again.rollout.expected == ended.expected:
                # It would end like this one, for ever.
                raise RefusedError(f"what {report.system} cannot take is online as it is", where=report.environment)
    except DistributorError as error:
        text = f"release {ended.release} is not asked for again: {first_line(error)}"
        timeline.write(conn, report.environment, now(), [timeline.Entry("unfit", text, ended.id, report.system)])


def _over_the_budget(settings: Settings, store: Store, report: UnfitReport) -> str:
    """How many rows may be held back, where a member names more of a dataset; empty where they may be."""
    budget = settings.quarantine.max_rows
    if report.total > budget:
        return f"at most {budget:,} may be held back"
    if report.manifest is None:
        return ""
    try:
        tables = read_manifest(store_of(settings, store, report.environment), report.manifest).certificate.tables
    except DistributorError:
        # Whoever asks again will say it.
        return ""
    for dataset, rows in Counter(row.dataset for row in report.rows).items():
        of = tables.get(dataset, EMPTY_TABLE).total.rows
        if rows > (most := settings.quarantine.most(of)):
            return f"of {of:,} rows of {dataset} at most {most:,} may be held back"
    return ""
