"""What a route needs of its caller. Every route says so with `needs`, or with `anyone`; an app with one that does not,
does not start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from sqlalchemy import Connection
from starlette.routing import Mount

from distributor.access.roles import Act, check, check_role
from distributor.errors import NotThereError
from distributor.ledger.engine import transaction
from distributor.web.backstage import AtHand, Backstage
from distributor.web.security.credentials import Caller, Shown, caller, shown


@dataclass(frozen=True, slots=True)
class Of:
    """How a path leads to an environment that it does not name. `what` is the path parameter, and how messages call it.

    `find` gives the environment, None for what concerns all, and raises LookupError when there is no such thing.
    """

    what: str
    find: Callable[[Connection, str], str | None]

    def missing(self, value: str) -> NotThereError:
        """What is said of a thing that is not there, or not for this caller."""
        return NotThereError(f"there is no {self.what} {value!r}", where="ledger")


class Needs:
    """A dependency that lets a caller pass who may do this; it gives the `Caller`.

    The environment is the one in the path, or the one that `of` finds; one that is not for the caller is not there.
    What the body names is left to the route, which calls `Caller.check`; `in_body` says that it does.
    """

    def __init__(self, act: Act, of: Of | None = None, *, in_body: bool = False) -> None:
        self.act, self.of, self.in_body = act, of, in_body

    def __call__(self, request: Request, backstage: AtHand, shown_by: Annotated[Shown, Depends(shown)]) -> Caller:
        """Raises UnauthenticatedError 401, NotThereError 404, ForbiddenError 403."""
        # The page of a problem says whose it is, and asks the ledger nothing.
        who = request.state.caller = caller(request, backstage, shown_by)
        environment = request.path_params.get("environment")
        if self.of is not None:
            environment = self._found(self.of, backstage, request, who)
            check(who.principal, self.act, environment)
        elif self.in_body:
            check_role(who.principal, self.act)
        else:
            who.check(self.act, environment)
        return who

    def _found(self, of: Of, backstage: Backstage, request: Request, who: Caller) -> str | None:
        value = request.path_params[of.what]
        try:
            with transaction(backstage.engine) as conn:
                environment = of.find(conn, value)
        except LookupError:
            raise of.missing(value) from None
        if environment is not None and not who.sees(environment):
            raise of.missing(value)
        return environment


def needs(act: Act, of: Of | None = None, *, in_body: bool = False) -> Any:
    """What a route needs, as the default of a parameter of type `Caller`; see `Needs`."""
    return Depends(Needs(act, of, in_body=in_body))


def declared_open() -> None:
    """Marks a route that anyone may use."""


anyone = Depends(declared_open)
"""What a route says that anyone may use: a page to log in, the description of the API."""

MOUNTS = frozenset({"/static"})
"""Files that anyone may read."""


def undeclared(app: FastAPI) -> list[str]:
    """The routes of an app that say nothing of who may use them."""
    return sorted(
        f"{','.join(sorted(context.methods or ()))} {context.path}"
        for context in iter_route_contexts(app.routes)
        if not _declared(context)
    )


def need_of(context: RouteContext) -> Needs | None:
    """What a route needs; None when anyone may use it."""
    return next((call for call in _calls(context) if isinstance(call, Needs)), None)


def _declared(context: RouteContext) -> bool:
    if isinstance(context.original_route, Mount):
        return context.path in MOUNTS
    calls = list(_calls(context))
    return sum(isinstance(call, Needs) for call in calls) + (declared_open in calls) == 1


def _calls(context: RouteContext) -> Iterator[object]:
    dependant = getattr(context, "dependant", None)
    waiting: list[Dependant] = [dependant] if dependant else []
    while waiting:
        one = waiting.pop()
        yield one.call
        waiting += one.dependencies
