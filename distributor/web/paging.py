"""Pages of a list: an opaque cursor says where the next one begins, however much is added in front meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Query, Request, Response

from distributor.views.base import View
from distributor.web.errors import InputError

T = TypeVar("T", bound=View)
After = Annotated[
    str | None,
    Query(max_length=300, description="Where the page begins: the `after` of the `next` link of the page before."),
]
LINKED = {
    "headers": {
        "Link": {
            "description": 'The next page, as `<…>; rel="next"`; none on the last one.',
            "schema": {"type": "string"},
        }
    }
}
"""What an answer with pages says of itself."""


def cursor(*position: str | int | datetime) -> str:
    """A place in a list, as text."""
    plain = [one.isoformat() if isinstance(one, datetime) else one for one in position]
    return base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).rstrip(b"=").decode()


def number(after: str | None) -> int | None:
    """The place of a list that is ordered by a number. Raises InputError."""
    match _read(after):
        case None:
            return None
        case [int(found)] if not isinstance(found, bool) and 0 <= found < 2**63:
            return found
    raise _no_place()


def moment(after: str | None) -> tuple[datetime, str] | None:
    """The place of a list that is ordered by a time and an id. Raises InputError."""
    match _read(after):
        case None:
            return None
        case [str(at), str(id_)] if id_.isascii() and id_.isalnum():
            try:
                found = datetime.fromisoformat(at)
            except ValueError:
                raise _no_place() from None
            if found.tzinfo is not None:
                return found, id_
    raise _no_place()


def _read(after: str | None) -> list[object] | None:
    if after is None:
        return None
    try:
        found = json.loads(base64.b64decode(after.encode("ascii") + b"=" * (-len(after) % 4), b"-_", validate=True))
    except (UnicodeError, ValueError, binascii.Error, RecursionError):
        raise _no_place() from None
    return found if isinstance(found, list) else []


def _no_place() -> InputError:
    return InputError("this is no place in the list", where="query.after", mend="Take it from the `next` link.")


def cut(request: Request, response: Response, view: T, name: str, limit: int, place: Sequence[str]) -> T:
    """A page of at most `limit` of a list that was read with one more, and the link to the next one in the headers.

    `name` is the list in the document, `place` the fields of an item that say where it stands.
    """
    found = getattr(view, name)
    if len(found) <= limit:
        return view
    last = found[limit - 1]
    link(request, response, *(getattr(last, one) for one in place))
    return view.model_copy(update={name: found[:limit]})


def link(request: Request, response: Response, *position: str | int | datetime) -> None:
    """Says where the next page is."""
    following = request.url.include_query_params(after=cursor(*position))
    response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
