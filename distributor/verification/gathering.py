"""Questions to members and their answers, through the ledger: asked again until answered, given up when it is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy import Engine

from distributor.errors import UnreachableError
from distributor.ledger import environments, verifications
from distributor.ledger.engine import transaction
from distributor.requests.verifications import Asked, Question, ask_audit, audit_id
from distributor.rollout.state import SILENT_AFTER
from distributor.telemetry.clock import now
from distributor.verification.answers import Answer, assemble
from distributor.wire.messages import AuditDepth

POLL_SECONDS = 0.1
LIFE_SECONDS = 1.0
ASK_AGAIN_SECONDS = 10.0
ASK_AGAIN_MOST = 60.0
Hear = Callable[[str, str], None]
"""Called with a system and what it is at."""
Pause = Callable[[float], None]
"""Waits for so many seconds; may raise to end the waiting for good."""


class Gathering:
    """Asks the members of one verification, until its patience is at an end."""

    def __init__(
        self, engine: Engine, asked: Asked, *, patience: timedelta, hear: Hear, pause: Pause = time.sleep
    ) -> None:
        self._engine = engine
        self._asked = asked
        self._deadline = time.monotonic() + patience.total_seconds()
        self._patience = patience
        self._hear = hear
        self.pause = pause
        self.environment = asked.verification.environment
        self.silent: dict[str, str] = {}

    def ask(self, round_: int, depth: AuditDepth, questions: Mapping[str, Question]) -> None:
        """Puts the questions. Raises UnreachableError."""
        with transaction(self._engine) as conn:
            ask_audit(conn, self._asked.verification, round_, depth, questions)

    def wait(self, round_: int, depth: AuditDepth, questions: Mapping[str, Question]) -> dict[str, Answer]:
        """The answers to questions that were put; who is missing is `silent`, with the reason.

        Bears a ledger that goes away, until the patience is at an end. Raises UnreachableError then.
        """
        begun = time.monotonic()
        found: dict[str, Answer] = {}
        asked_again, looked = begun, begun
        pause = ASK_AGAIN_SECONDS
        while waiting := questions.keys() - found.keys() - self.silent.keys():
            at = time.monotonic()
            try:
                found.update(self._answers(round_, depth, waiting))
                missing = {system: questions[system] for system in waiting - found.keys()}
                if missing and at - asked_again > pause:
                    self.ask(round_, depth, missing)
                    asked_again, pause = at, min(pause * 2, ASK_AGAIN_MOST)
                if missing and at - looked > LIFE_SECONDS:
                    self._look_for_life(missing, at - begun)
                    looked = at
            except UnreachableError:
                if at > self._deadline:
                    raise
            for system in waiting - found.keys() if at > self._deadline else ():
                self._give_up(system, f"no answer within {self._patience.total_seconds():g} s")
            if waiting - found.keys():
                self.pause(POLL_SECONDS)
        return found

    def _answers(self, round_: int, depth: AuditDepth, waiting: set[str]) -> dict[str, Answer]:
        id_ = audit_id(self._asked.verification, round_)
        with transaction(self._engine) as conn:
            done = verifications.complete(conn, id_, depth, waiting)
            return {system: assemble(verifications.answer(conn, id_, depth, system)) for system in sorted(done)}

    def _look_for_life(self, missing: Mapping[str, Question], waited: float) -> None:
        """A member that audits says that it lives meanwhile; one that is not heard of at all is not waited for."""
        with transaction(self._engine) as conn:
            state = environments.read(conn, self._asked.verification.environment)
        for system in missing:
            member = state.members.get(system) if state else None
            heard_at = member.heard_at if member else None
            quiet = waited if heard_at is None else min(waited, (now() - heard_at).total_seconds())
            if quiet > SILENT_AFTER.total_seconds():
                since = f"since {heard_at:%Y-%m-%d %H:%M:%S} UTC" if heard_at else "at all"
                self._give_up(system, f"no answer, and it was not heard of {since}")

    def _give_up(self, system: str, why: str) -> None:
        self.silent[system] = why
        self._hear(system, "silent")
