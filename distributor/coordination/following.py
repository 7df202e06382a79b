"""Triggers' hands: reads what the rules are judged by, and asks, says and remembers what they decide.

An environment is looked at without its lock first; only what has consequences is judged again under it. So nothing is
asked for twice, however many coordinators look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from distributor.coordination.step import Step
from distributor.errors import DistributorError
from distributor.ledger import audit, environments, releases, rollouts, timeline, triggers
from distributor.ledger.engine import transaction
from distributor.requests.rollouts import ASKED_WITH, ask
from distributor.rollout.state import Cause, Environment
from distributor.settings import Settings
from distributor.settings.desk import Trigger
from distributor.store.base import Store
from distributor.telemetry.clock import now
from distributor.telemetry.faults import Point, point
from distributor.telemetry.logs import logger
from distributor.triggers.facts import Call, Facts, Memory, Newest, Tries, Unshown
from distributor.triggers.follow import lags, on_its_way
from distributor.triggers.patience import pause_after
from distributor.triggers.rules import Verdict, could_not, decide, gathers, judge, rules_of

_log = logger("coordinator")


@dataclass(frozen=True, slots=True)
class _Failure:
    """Requests for a release that could not even be made; the ledger's history knows those that could."""

    release: int
    tries: int
    at: datetime
    why: str

    @property
    def again_at(self) -> datetime:
        return self.at + pause_after(self.tries)

    @property
    def sentence(self) -> str:
        return f"release {self.release} cannot be asked for yet: {self.why}"


class Following:
    """Asks for the newest release where the triggers of an environment say so. Safe to call as often as one likes."""

    def __init__(self, engine: Engine, settings: Settings, store: Store) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store
        self._rules = {name: rules_of(environment) for name, environment in settings.environments.items()}
        self._failures: dict[str, _Failure] = {}
        self._next: dict[str, datetime] = {}

    def next_at(self, environment: str) -> datetime | None:
        """When to look at an environment again, as far as its triggers wait for a time."""
        return self._next.get(environment)

    def begin(self, conn: Connection, environment: str) -> None:
        """Forgets rules that the config no longer has: once, when a coordinator starts."""
        triggers.forget_others(conn, environment, [rule.name for rule in self._rules[environment]])

    def follow(self, environment: str, known: Environment | None = None) -> Step | None:
        """Does what is due; None when the environment is as before. `known` is the state if it was just read.

        What keeps a request from being made, such as a store that is away, is noted, and it is asked again later.
        Raises UnreachableError and NotInitialisedError for the ledger.
        """
        rules = self._rules[environment]
        self._next.pop(environment, None)
        if not rules:
            return None
        with transaction(self._engine) as conn:
            state = known or environments.read(conn, environment) or Environment(environment)
            facts = self._facts(conn, rules, state)
            verdicts = decide(rules, facts, now())
            self._look_again(environment, verdicts)
            if not any(_matters(verdict, facts) for verdict in verdicts):
                return None
            before = environments.lock(conn, environment)
            if before == state:
                # What another coordinator has done meanwhile, short of changing the state, is in its memory alone.
                facts = replace(facts, memories=_memories(conn, environment), calls=_calls(conn, rules, environment))
            else:
                facts = self._facts(conn, rules, before)
            after = self._act(conn, rules, facts)
            if after == before:
                return None
            point(Point.FOLLOW_BEFORE_COMMIT)
        point(Point.FOLLOW_AFTER_COMMIT)
        return Step(before, after)

    def _act(self, conn: Connection, rules: Sequence[Trigger], facts: Facts) -> Environment:
        """Judges every rule under the lock, each on what the one before it left behind; returns the state after it."""
        known: Facts | None = facts
        environment = facts.state.name
        verdicts = []
        for rule in rules:
            again = True
            while again:
                known = known or self._facts(conn, rules, environments.lock(conn, environment))
                at = now()
                verdict = judge(rule, known, at)
                again = verdict.call is not None
                if _matters(verdict, known):
                    self._carry_out(conn, rule, verdict, known, at)
                    known = None
            verdicts.append(verdict)
        self._look_again(environment, verdicts)
        return known.state if known else environments.lock(conn, environment)

    def _carry_out(self, conn: Connection, rule: Trigger, verdict: Verdict, facts: Facts, at: datetime) -> None:
        environment, before = facts.state.name, facts.memories.get(rule.name, Memory())
        memory, outcome = verdict.memory, verdict.outcome
        what = ASKED_WITH[Cause.AUTO if rule.on == "change" else Cause.TRIGGER]
        detail = {"trigger": rule.name, "release": facts.newest.number if facts.newest else None}
        if verdict.ask:
            asked = self._ask(conn, environment, verdict, at)
            if isinstance(asked, _Failure):
                memory = could_not(verdict, before, asked.sentence, asked.again_at)
                outcome = asked.sentence
            else:
                known = {**detail, "rollout": asked}
                audit.record(conn, audit.AuditRecord(at, verdict.by, what, verdict.ask.because, environment, known))
        elif verdict.said:
            audit.record(conn, audit.AuditRecord(at, verdict.by, what, verdict.said, environment, detail))
        if memory != before:
            row = triggers.RuleRow(
                environment, rule.name, memory.decision, memory.decided_at, memory.fired_at, memory.detail
            )
            triggers.put(conn, row)
        if verdict.call is not None:
            triggers.take(conn, verdict.call, at, outcome)

    def _ask(self, conn: Connection, environment: str, verdict: Verdict, at: datetime) -> str | _Failure:
        """Asks; the rollout's id, or what kept it from being done."""
        wanted = verdict.ask
        assert wanted is not None
        try:
            # What is raised in here as ours cannot be the ledger's: its failures get their names at the transaction.
            with conn.begin_nested():
                rollout_id = ask(
                    conn,
                    self._settings,
                    self._store,
                    environment,
                    release=wanted.release,
                    cause=wanted.cause,
                    by=wanted.by,
                    reason=wanted.because,
                    audited=False,
                )
        except DistributorError as error:
            return self._could_not(conn, environment, wanted.release, wanted.by, error, at)
        self._failures.pop(environment, None)
        return rollout_id

    def _could_not(
        self, conn: Connection, environment: str, release: int, by: str, error: DistributorError, at: datetime
    ) -> _Failure:
        last = self._failures.get(environment)
        again = last is not None and last.release == release
        failure = _Failure(release, last.tries + 1 if last and again else 1, at, str(error))
        self._failures[environment] = failure
        _log.error("cannot follow", environment=environment, release=release, why=failure.why, tries=failure.tries)
        if not (last and again and last.why == failure.why):
            timeline.write(conn, environment, at, [timeline.Entry("not-followed", failure.sentence)])
            what = "could not ask for the newest release"
            audit.record(conn, audit.AuditRecord(at, by, what, failure.why, environment, {"release": release}))
        return failure

    def _facts(self, conn: Connection, rules: Iterable[Trigger], state: Environment) -> Facts:
        """What the ledger knows at this moment; nothing is asked that no rule needs."""
        head = releases.head(conn)
        lagging = head is not None and lags(state, head.number)
        found = releases.since(conn, on_its_way(state)) if lagging and any(map(gathers, rules)) else None
        return Facts(
            state=state,
            newest=Newest(head.number, head.created_at) if head else None,
            unshown=Unshown(found.rows, found.first_at, found.last_at) if found else None,
            tries=self._tries(conn, state.name, head.number) if head and lagging else Tries(),
            memories=_memories(conn, state.name),
            calls=_calls(conn, rules, state.name),
        )

    def _tries(self, conn: Connection, environment: str, release: int) -> Tries:
        failed = rollouts.failed_tries(conn, [environment], release)[environment]
        again_at = failed.newest + pause_after(failed.count) if failed.newest else None
        failure = self._failures.get(environment)
        if failure and failure.release == release and (again_at is None or failure.again_at > again_at):
            return Tries(failed.count, failed.called_off, failure.again_at, failure.sentence)
        return Tries(failed.count, failed.called_off, again_at)

    def _look_again(self, environment: str, verdicts: Iterable[Verdict]) -> None:
        times = [verdict.next_at for verdict in verdicts if verdict.next_at is not None]
        if times:
            self._next[environment] = min(times)


def _memories(conn: Connection, environment: str) -> dict[str, Memory]:
    rows = triggers.rows(conn, environment).values()
    return {row.name: Memory.of(row.decision, row.decided_at, row.fired_at, row.detail) for row in rows}


def _calls(conn: Connection, rules: Iterable[Trigger], environment: str) -> dict[str, tuple[Call, ...]]:
    """The calls that nobody has taken, by rule, oldest first."""
    found: dict[str, tuple[Call, ...]] = {}
    if any(rule.on == "message" for rule in rules):
        for row in triggers.waiting(conn, environment):
            found[row.name] = (*found.get(row.name, ()), Call(row.id, row.by, row.reason))
    return found


def _matters(verdict: Verdict, facts: Facts) -> bool:
    """Whether anything is to be done or written."""
    return bool(
        verdict.ask
        or verdict.said
        or verdict.call is not None
        or verdict.memory != facts.memories.get(verdict.rule, Memory())
    )
