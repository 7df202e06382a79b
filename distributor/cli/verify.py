"""`verify ENV [--repair]`: what is stored, against what the release says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live

from distributor.cli.asking import AskedRollout, ask_and_wait
from distributor.cli.deploy import OptionalReason
from distributor.cli.desk import Desk
from distributor.cli.layout import count, grid
from distributor.cli.options import By, DryRun, Environment, duration
from distributor.cli.rollout import MemberPart, told
from distributor.cli.status import look
from distributor.cli.verified import Verified, VerifiedSystem
from distributor.errors import UsageError
from distributor.rollout.state import Requirement, RolloutState

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.requests.verifications import Asked
    from distributor.verification.findings import Findings
    from distributor.verification.mending import Plan

PATIENCE = timedelta(minutes=10)
POLL_SECONDS = 0.2


def verify(
    desk: Desk,
    environment: Environment,
    systems: Annotated[str | None, typer.Option("--systems", metavar="A,B", help="Only these.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend exactly the rows that differ, through the shadow and a flip.")
    ] = False,
    reason: OptionalReason = "",
    by: By = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            help='How long to wait for answers ("90s", default "10m"), and then for the rollout that mends.',
        ),
    ] = None,
    dry_run: DryRun = False,
) -> Verified:
    """Audit everything that the systems store (L3), and compare it with the release that each says it holds.

    Every row of the online slots is read where it lies; what differs is looked at ever more closely, down to single
    keys. With `--repair` the other slots are audited too, and exactly the wrong rows are mended: loaded into the
    shadow, read back, and flipped, coordinated and certified like any rollout. A system that moved on to another
    release meanwhile is asked anew.

    It ends with 0 when every row is right or was mended, 10 when rows differ, 12 when a member (an optional one too)
    did not answer in time, 13 when one changed over too often to be audited, 1 when an audit failed; with `--repair`
    else as the rollout did. `--dry-run` goes with `--repair`: it looks, and says what would be mended.
    """
    from distributor.requests.verifications import begin_verification
    from distributor.verification.drilling import verify as look_closer
    from distributor.verification.mending import plan
    from distributor.verification.record import write_down

    if dry_run and not repair:
        raise UsageError("--dry-run goes with --repair: verify alone changes nothing", where="usage")
    chosen = tuple(name.strip() for name in systems.split(",") if name.strip()) if systems else ()
    patience = duration(timeout, "--timeout") if timeout else PATIENCE
    desk.known_environment(environment)
    with desk.ledger() as engine:
        asked = begin_verification(
            engine, desk.settings, environment, systems=chosen, shadow=repair, by=by or desk.user, reason=reason
        )
        _warn(desk, engine, asked)
        with _watching(desk, asked) as hear:
            findings = look_closer(
                engine, desk.settings, desk.store, asked, shadow=repair, patience=patience, hear=hear
            )
        write_down(engine, findings)
        if not repair:
            return _verified(findings)
        wanted = plan(findings)
        if dry_run or not wanted.systems:
            return _verified(findings, wanted, dry_run=dry_run)
        done = _mend(desk, engine, asked, wanted, timeout)
        return _verified(findings, wanted, done, _late(engine, done, wanted, patience))


def _mend(desk: Desk, engine: Engine, asked: Asked, wanted: Plan, timeout: str | None) -> AskedRollout:
    from distributor.requests.verifications import repair
    from distributor.verification.mending import write_lists

    verification = asked.verification
    lists = write_lists(engine, desk.store, verification.release, wanted)
    return ask_and_wait(
        desk,
        verification.environment,
        lambda ledger: repair(ledger, desk.settings, desk.store, verification, systems=wanted.systems, repairs=lists),
        no_wait=False,
        timeout=timeout,
    )


def _late(engine: Engine, done: AskedRollout, wanted: Plan, patience: timedelta) -> dict[str, MemberPart]:
    """What each member did; optional ones are waited for too, since it is about them as well."""
    from distributor.ledger.engine import transaction
    from distributor.ledger.rollouts import rollout as by_id

    members = {member.system: member for member in done.members}
    deadline = time.monotonic() + patience.total_seconds()
    online = done.rollout is not None and done.rollout.state is RolloutState.ONLINE
    while online and done.rollout and any(members[system].state != "flipped" for system in wanted.systems):
        if time.monotonic() > deadline or any(members[system].state == "refused" for system in wanted.systems):
            break
        time.sleep(POLL_SECONDS)
        with transaction(engine) as conn:
            record = by_id(conn, done.rollout.id)
            if record is None:
                break
            members = {member.system: member for member in told(conn, record).members}
    return members


def _verified(
    findings: Findings,
    wanted: Plan | None = None,
    done: AskedRollout | None = None,
    members: dict[str, MemberPart] | None = None,
    *,
    dry_run: bool = False,
) -> Verified:
    from distributor.verification.record import LEVEL

    verification, state = findings.asked.verification, findings.asked.environment
    systems = []
    for member in findings.members:
        known = state.members.get(member.system)
        system = VerifiedSystem.of(member, bool(known and known.requirement is Requirement.REQUIRED))
        if wanted and system.differing:
            part = (members or {}).get(member.system) if member.system in wanted.systems else None
            mended = part is not None and part.state == "flipped"
            system = system.model_copy(
                update={
                    "remedy": _remedy(wanted, member.system),
                    "mended": mended,
                    "rows_loaded": part.rows if part and mended else None,
                }
            )
        systems.append(system)
    return Verified(
        environment=verification.environment,
        release=verification.release,
        verification=verification.id,
        level=LEVEL,
        different=bool(findings.differing),
        dry_run=dry_run,
        systems=tuple(systems),
        repair=done,
    )


def _remedy(wanted: Plan, system: str) -> str:
    if system in wanted.left_out:
        return f"not mended: {wanted.left_out[system]}"
    keys = wanted.keys(system)
    if keys is None:
        return "more rows differ than a list is good for: everything is loaded anew"
    return f"{count(keys, 'row')} mended"


def _warn(desk: Desk, engine: Engine, asked: Asked) -> None:
    """Without a coordinator, no question leaves and no answer arrives."""
    from distributor.ledger.engine import transaction

    with transaction(engine) as conn:
        status = look(conn, desk.settings, [asked.verification.environment])
    if status.coordinator != "up":
        desk.say("no coordinator is up, so nobody is asked yet: `distributor serve coordinator`")


@contextmanager
def _watching(desk: Desk, asked: Asked) -> Iterator[Callable[[str, str], None]]:
    """Progress: a table on a terminal, a line for every change elsewhere."""
    words = dict.fromkeys(asked.systems, "asked")
    if not desk.notes.is_terminal or desk.as_json:
        yield lambda system, word: desk.say(f"{asked.verification.environment}: {system} {word}")
        return
    with Live(console=desk.notes, refresh_per_second=10, transient=True) as live:

        def hear(system: str, word: str) -> None:
            words[system] = word
            table = grid("system", "audit")
            for name, said in words.items():
                table.add_row(name, said)
            live.update(table)

        yield hear
