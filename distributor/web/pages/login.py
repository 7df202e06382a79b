"""`/login` and `/logout`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from distributor.access.roles import Act
from distributor.web.backstage import AtHand
from distributor.web.errors import UnauthenticatedError
from distributor.web.pages.page import page
from distributor.web.security import Caller, anyone, forget, log_in, log_out, needs, remember

router = APIRouter()


@router.get("/login", dependencies=[anyone])
def form(request: Request, next: str = "/") -> Response:
    """Where a key is pasted once."""
    return page(request, None, "login.html", next=_own(next), problem="")


@router.post("/login", dependencies=[anyone])
def login(
    request: Request,
    at_hand: AtHand,
    key: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """On to where the browser was led from, or the form again with what is the matter."""
    try:
        opened = log_in(request, at_hand, key)
    except UnauthenticatedError as error:
        what = f"{error.what[:1].upper()}{error.what[1:]}. {error.mend}".strip()
        return page(request, None, "login.html", status=401, next=_own(next), problem=what)
    answer = RedirectResponse(_own(next), 303)
    remember(answer, request, opened)
    return answer


@router.post("/logout")
def logout(request: Request, at_hand: AtHand, who: Caller = needs(Act.READ)) -> Response:
    """The login of this browser is over."""
    log_out(request, at_hand)
    answer = RedirectResponse("/login", 303)
    forget(answer, request)
    return answer


def _own(path: str) -> str:
    """A path of this service; whatever else was asked for, such as another site, becomes the first page."""
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if ours else "/"
