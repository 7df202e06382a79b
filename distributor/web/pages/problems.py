"""Problems as pages: what, where, how to mend it, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from distributor.web.pages.forms import came_from
from distributor.web.pages.page import page
from distributor.web.problems import Problem
from distributor.web.security import Caller

_HEADINGS = {
    403: "This is not for you to do",
    404: "This is not there",
    409: "This was refused",
    412: "This has changed meanwhile",
    413: "This is too much",
    422: "This cannot be taken",
    503: "This cannot be reached at the moment",
}


def render(request: Request, problem: Problem, headers: Mapping[str, str]) -> Response | None:
    """A problem as a page; whoever is not logged in is led to the login. None for what is no page."""
    if not is_page(request):
        return None
    partial = request.headers.get("hx-request") == "true"
    if problem.status == 401:
        to = "/login" if request.method != "GET" else f"/login?next={quote(_here(request), safe='')}"
        return Response(status_code=401, headers={"HX-Redirect": to}) if partial else RedirectResponse(to, 303)
    known = {name: value for name, value in headers.items() if name.lower() in ("allow", "retry-after")}
    answer = page(
        request,
        _who(request),
        "error.html",
        status=problem.status,
        problem=problem,
        heading=_HEADINGS.get(problem.status, "This did not work"),
        mend=_for_a_page(problem.mend),
        back=came_from(request) if request.method != "GET" else "",
    )
    answer.headers.update(known)
    return answer


def is_page(request: Request) -> bool:
    """Whether a browser shows the answer: all addresses but the API's, the files and those that probes ask."""
    return not request.url.path.startswith(("/v1/", "/static/", "/health"))


def _who(request: Request) -> Caller | None:
    """Whoever asked, once that is known: the page of a problem asks the ledger nothing."""
    found: Caller | None = getattr(request.state, "caller", None)
    return found


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _for_a_page(mend: str) -> str:
    """Advice for programs is none for people before a page."""
    return "" if "/v1/" in mend else mend
