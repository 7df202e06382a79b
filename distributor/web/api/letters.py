"""Dead letters: messages that could not be processed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection, Engine

from distributor.access.roles import Act
from distributor.ledger import deadletters as ledger
from distributor.ledger.deadletters import DeadLetter
from distributor.ledger.engine import transaction
from distributor.requests import letters as requests
from distributor.views import deadletters as views
from distributor.views.deadletters import DeadLetters, HandledLetter, LetterLine, OpenedLetter
from distributor.web import paging
from distributor.web.api.fields import Limit, Number, Reasoned
from distributor.web.backstage import AtHand, Backstage
from distributor.web.errors import not_there
from distributor.web.paging import After
from distributor.web.security import Caller, needs
from distributor.web.writing import Done, Write, Writing

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])


@router.get("", operation_id="deadletter-list", summary="List the dead letters", responses={200: paging.LINKED})
def dead_letters(
    request: Request,
    response: Response,
    backstage: AtHand,
    every: Annotated[bool, Query(alias="all", description="Also those that were retried or discarded.")] = False,
    limit: Limit = 50,
    after: After = None,
    who: Caller = needs(Act.READ_LETTERS),
) -> DeadLetters:
    """Newest first."""
    with transaction(backstage.engine) as conn:
        found = views.dead_letters(conn, every=every, limit=limit + 1, before=paging.number(after))
    return paging.cut(request, response, found, "dead_letters", limit, ("id",))


@router.get("/{letter}", operation_id="deadletter-show", summary="See one dead letter")
def dead_letter(letter: Number, backstage: AtHand, who: Caller = needs(Act.READ_LETTERS)) -> OpenedLetter:
    """Where it was going, why it failed, its headers and its body."""
    with transaction(backstage.engine) as conn, not_there():
        return views.dead_letter(conn, letter)


@router.post(
    "/{letter}/retry", operation_id="deadletter-retry", summary="Send a dead letter again", response_model=HandledLetter
)
def retry(
    letter: Number,
    wanted: Reasoned,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.HANDLE_LETTERS),
) -> Response:
    """To where it was sent first. A command or a report that comes too late, or twice, changes nothing anywhere."""
    return _handled(
        backstage, write, who, letter, lambda e: requests.retry(e, letter, by=who.name, reason=wanted.reason)
    )


@router.post(
    "/{letter}/discard",
    operation_id="deadletter-discard",
    summary="Give a dead letter up",
    response_model=HandledLetter,
)
def discard(
    letter: Number,
    wanted: Reasoned,
    backstage: AtHand,
    write: Writing,
    who: Caller = needs(Act.HANDLE_LETTERS),
) -> Response:
    """It stays readable."""
    return _handled(
        backstage, write, who, letter, lambda e: requests.discard(e, letter, by=who.name, reason=wanted.reason)
    )


def _handled(
    backstage: Backstage, write: Write, who: Caller, letter: int, handle: Callable[[Engine], DeadLetter]
) -> Response:
    def act(engine: Engine, conn: Connection) -> Done:
        with not_there():
            ledger.letter(conn, letter)
        return Done(HandledLetter(letter=LetterLine.of(handle(engine)), dry_run=False))

    return write.done(who, act)
