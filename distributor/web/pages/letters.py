"""`/letters`: messages that could not be processed, and rows that are held back; what becomes of both."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from distributor.access.roles import Act
from distributor.ledger.engine import transaction
from distributor.ledger.quarantine import EVERYWHERE
from distributor.requests import letters, quarantine
from distributor.views.deadletters import dead_letter, dead_letters
from distributor.views.quarantine import chosen, held_rows
from distributor.views.wording import count
from distributor.web.backstage import AtHand
from distributor.web.pages.forms import Text, said
from distributor.web.pages.page import done, page
from distributor.web.security import Caller, needs

router = APIRouter(prefix="/letters")
_LETTERS = 50
_ROWS = 500
_MOST = 2**63 - 1


@router.get("")
def waiting(
    request: Request,
    at_hand: AtHand,
    every: bool = False,
    environment: str = "",
    before: Annotated[int | None, Query(ge=1, le=_MOST)] = None,
    who: Caller = needs(Act.READ),
) -> HTMLResponse:
    """What waits for somebody. Dead letters are shown to those only who may read them."""
    reads = who.may(Act.READ_LETTERS)
    with transaction(at_hand.engine) as conn:
        found = dead_letters(conn, every=every, limit=_LETTERS, before=before).dead_letters if reads else ()
        policy = at_hand.settings.masking_of(environment)
        held = held_rows(conn, environment=environment or None, policy=policy).held_back
    mine = [row for row in held if row.environment == EVERYWHERE or who.sees(row.environment)]
    return page(
        request,
        who,
        "letters.html",
        section="/letters",
        live=True,
        reads=reads,
        clear=who.reads_clear,
        letters=found,
        every_letter=every,
        before=before,
        older=found[-1].id if len(found) == _LETTERS else None,
        held=mine[:_ROWS],
        held_count=len(mine),
        environment=environment,
        everywhere=EVERYWHERE,
    )


@router.get("/{number}")
def one(request: Request, at_hand: AtHand, number: int, who: Caller = needs(Act.READ_LETTERS)) -> HTMLResponse:
    """One dead letter with all that came with it."""
    with transaction(at_hand.engine) as conn:
        found = dead_letter(conn, number)
    return page(request, who, "letter.html", section="/letters", opened=found)


@router.post("/held-back/{action}")
def handle(
    request: Request,
    at_hand: AtHand,
    action: Literal["retry", "release"],
    environment: Annotated[str, Form(max_length=100)],
    dataset: Annotated[str, Form(max_length=100)],
    key: Annotated[list[str], Form()],
    reason: Text = "",
    who: Caller = needs(Act.HANDLE_QUARANTINE, in_body=True),
) -> RedirectResponse:
    """One row: read and judged again (`retry`), or let out as it is (`release`)."""
    everywhere, releasing = environment == EVERYWHERE, action == "release"
    # What is released goes out to every environment, whichever one the form names.
    who.check(Act.HANDLE_QUARANTINE, None if everywhere or releasing else environment)
    why = said(reason)
    with transaction(at_hand.engine) as conn:
        rows = chosen(
            conn, environment=None if everywhere else environment, dataset=dataset, key=key, releasing=releasing
        )
    if releasing:
        quarantine.release(at_hand.engine, rows, by=who.name, reason=why)
        what = "goes out as it is with the next publish"
    else:
        quarantine.retry(at_hand.engine, at_hand.settings, rows, by=who.name, reason=why)
        what = "is read and judged again"
    return done(request, "/letters#held-back", f"{count(len(rows), 'row')} of {dataset} {' '.join(key)} {what}.")


@router.post("/{number}/retry")
def retry(
    request: Request, at_hand: AtHand, number: int, reason: Text = "", who: Caller = needs(Act.HANDLE_LETTERS)
) -> RedirectResponse:
    """Sends it again, to where it was sent first."""
    letters.retry(at_hand.engine, number, by=who.name, reason=said(reason))
    return done(request, "/letters", f"Dead letter {number} is sent again.")


@router.post("/{number}/discard")
def discard(
    request: Request, at_hand: AtHand, number: int, reason: Text = "", who: Caller = needs(Act.HANDLE_LETTERS)
) -> RedirectResponse:
    """Gives it up; it stays readable."""
    letters.discard(at_hand.engine, number, by=who.name, reason=said(reason))
    return done(request, "/letters", f"Dead letter {number} is given up.")
