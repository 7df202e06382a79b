"""`verify ENV [--repair]`: what is stored, against what the release says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live

from distributor.cli.asking import ask_and_wait
from distributor.cli.deploy import OptionalReason
from distributor.cli.desk import Desk
from distributor.cli.layout import grid
from distributor.cli.options import By, DryRun, Environment, duration, names
from distributor.cli.verified import ShownVerified
from distributor.errors import UsageError
from distributor.rollout.state import RolloutState
from distributor.views.asked import AskedRollout
from distributor.views.rollout import MemberPart, told
from distributor.views.status import look
from distributor.views.verified import verified

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from distributor.requests.verifications import Asked
    from distributor.verification.afterwards import Left
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
            help='How long to wait for answers ("90s", default "10m"), for the rollout that mends, and for old slots.',
        ),
    ] = None,
    dry_run: DryRun = False,
) -> ShownVerified:
    """Audit everything that the systems store (L3), and compare it with the release that each says it holds.

    Every row of the online slots is read where it lies; what differs is looked at ever more closely, down to single
    keys. With `--repair` the other slots are audited too, and exactly the wrong rows are mended: loaded into the
    shadow, read back, and flipped, coordinated and certified like any rollout. The old slots follow at once, and both
    slots are audited once more: only what is right then is called mended. A system that moved on to another release
    meanwhile is asked anew.

    It ends with 0 when every row is right or was mended, 10 when rows differ, 12 when a member (an optional one too)
    did not answer or mend in time, 13 when one changed over too often to be audited, 1 when an audit failed or a
    system could not be mended; with `--repair` else as the rollout did. `--dry-run` goes with `--repair`: it looks, and
    says what would be mended.
    """
    from distributor.requests.verifications import begin_verification
    from distributor.verification.drilling import verify as look_closer
    from distributor.verification.mending import plan
    from distributor.verification.record import write_down, write_down_repair

    if dry_run and not repair:
        raise UsageError("--dry-run goes with --repair: verify alone changes nothing", where="usage")
    chosen = names(systems, "--systems")
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
            return ShownVerified.of(verified(findings))
        wanted = plan(findings)
        if dry_run or not wanted.systems:
            return ShownVerified.of(verified(findings, wanted, dry_run=dry_run))
        done = _mend(desk, engine, asked, wanted, timeout)
        members = _late(engine, done, wanted, patience)
        left = _left(desk, engine, asked, wanted, done, members, patience)
        mended = [system for system in wanted.systems if system not in left]
        write_down_repair(engine, findings, mended, {system: not_done.why for system, not_done in left.items()})
        return ShownVerified.of(verified(findings, wanted, done, members, left))


def _mend(desk: Desk, engine: Engine, asked: Asked, wanted: Plan, timeout: str | None) -> AskedRollout:
    from distributor.requests.verifications import repair
    from distributor.verification.mending import write_lists

    verification = asked.verification
    environment, release = verification.environment, verification.release
    lists = write_lists(engine, desk.settings, desk.store, environment, release, wanted)
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
    while online and done.rollout:
        ahead = [members[system] for system in wanted.systems if system in members]
        if all(member.state in ("flipped", "refused") for member in ahead) or time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
        with transaction(engine) as conn:
            record = by_id(conn, done.rollout.id)
            if record is None:
                break
            members = {member.system: member for member in told(conn, record).members}
    return members


def _left(
    desk: Desk,
    engine: Engine,
    asked: Asked,
    wanted: Plan,
    done: AskedRollout,
    members: Mapping[str, MemberPart],
    patience: timedelta,
) -> dict[str, Left]:
    """Who is not mended when all is over, and why: the other slots follow after the flip, and may not be able to."""
    from distributor.verification.afterwards import judged, wait_for_old_slots
    from distributor.verification.drilling import verify_again

    left = {system: why for system in wanted.systems if (why := _not_flipped(done, members.get(system)))}
    flipped = [system for system in wanted.systems if system not in left]
    if not flipped or done.rollout is None:
        return left
    environment = asked.verification.environment
    with _watching(desk, asked, flipped) as hear:
        old_slots = wait_for_old_slots(engine, environment, done.rollout.id, flipped, patience=patience, hear=hear)
        found = verify_again(engine, desk.settings, desk.store, asked, flipped, patience=patience, hear=hear)
    return left | judged(found, old_slots)


def _not_flipped(done: AskedRollout, part: MemberPart | None) -> Left | None:
    from distributor.verification.afterwards import Left

    if done.timed_out:
        return Left("the rollout goes on", late=True)
    if done.rollout is None or done.rollout.state is not RolloutState.ONLINE:
        return Left(f"the rollout was {done.rollout.state.value}" if done.rollout else "there was no rollout")
    if part is None:
        return Left("it took no part in the rollout")
    if part.state == "flipped":
        return None
    return Left(f"it refused: {part.refusal}" if part.refusal else "it has not flipped yet", late=not part.refusal)


def _warn(desk: Desk, engine: Engine, asked: Asked) -> None:
    """Without a coordinator, no question leaves and no answer arrives."""
    from distributor.ledger.engine import transaction

    with transaction(engine) as conn:
        status = look(conn, desk.settings, [asked.verification.environment])
    if status.coordinator != "up":
        desk.say("no coordinator is up, so nobody is asked yet: `distributor serve coordinator`")


@contextmanager
def _watching(desk: Desk, asked: Asked, systems: Sequence[str] = ()) -> Iterator[Callable[[str, str], None]]:
    """Progress: a table on a terminal, a line for every change elsewhere."""
    words = dict.fromkeys(systems or asked.systems, "flipped" if systems else "asked")
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
