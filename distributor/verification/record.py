"""What a verification came to, for those who ask later: in the ledger, and in the environment's timeline."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Engine

from distributor.ledger import timeline, verifications
from distributor.ledger.engine import transaction
from distributor.telemetry.clock import now
from distributor.verification.findings import Findings, MemberFinding, Outcome, TableFinding

LEVEL = "L3 audit"


def write_down(engine: Engine, findings: Findings) -> None:
    """Ends the verification in the ledger. Raises UnreachableError."""
    outcome = "; ".join(sentences(findings)) or f"every row of {', '.join(findings.asked.systems)} is as it should be"
    _end(engine, findings, outcome, f"{LEVEL}, asked for by {findings.asked.verification.by}: {outcome}")


def write_down_repair(engine: Engine, findings: Findings, mended: Collection[str], left: Mapping[str, str]) -> None:
    """What became of the repair of what was found; `left`: system → why it is not mended. Raises UnreachableError."""
    told = [f"{', '.join(mended)}: mended"] if mended else []
    said = "; ".join([*told, *(f"{system} is not mended: {why}" for system, why in left.items())])
    outcome = "; ".join([*sentences(findings), said])
    _end(engine, findings, outcome, f"repair, asked for by {findings.asked.verification.by}: {said}")


def _end(engine: Engine, findings: Findings, outcome: str, said: str) -> None:
    verification, at = findings.asked.verification, now()
    with transaction(engine) as conn:
        detail = {member.system: _detail(member) for member in findings.members}
        verifications.end(conn, verification.id, verifications.Ended(at, outcome, detail))
        timeline.write(conn, verification.environment, at, [timeline.Entry("verified", said)])


def sentences(findings: Findings) -> Iterator[str]:
    """What there is to say of members that are not as their release says, or that could not be verified."""
    for member in findings.members:
        if member.outcome is not Outcome.VERIFIED:
            yield f"{member.system} was not verified: {member.why}"
        for table in member.differing:
            yield f"{member.system}: {in_words(table)}"


def in_words(table: TableFinding) -> str:
    """`online products: 3 rows differ from release 41`."""
    if table.wrong is None:
        what = f"{len(table.buckets)} of 64 buckets differ"
    else:
        what = f"{len(table.wrong):,} {'row differs' if len(table.wrong) == 1 else 'rows differ'}"
    return f"{table.slot} {table.table}: {what} from release {table.release}"


def _detail(member: MemberFinding) -> dict[str, object]:
    return {
        "outcome": member.outcome.value,
        "why": member.why,
        "release": member.release,
        "seconds": round(member.seconds, 3),
        "differing": [
            {
                "slot": table.slot,
                "table": table.table,
                "buckets": sorted(table.buckets),
                "rows": None if table.wrong is None else len(table.wrong),
            }
            for table in member.differing
        ],
    }
