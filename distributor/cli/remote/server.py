"""A server's HTTP API, as a verb uses it: documents come in, problems become the errors that they were."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx2 as httpx
from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from distributor.access.roles import ForbiddenError
from distributor.errors import DistributorError, NotThereError, RefusedError, UnreachableError, UsageError
from distributor.telemetry.clock import new_id
from distributor.views.base import View

_SECONDS = 30.0
_TRIES = 4
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ERRORS: Mapping[int, type[DistributorError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotThereError,
    409: RefusedError,
    412: RefusedError,
    422: UsageError,
    503: UnreachableError,
}
V = TypeVar("V", bound=View)


class _StillAtItError(Exception):
    """The server works on this very write, whose answer was lost."""


class Server:
    """Use it as a context. Every writing call carries an idempotency key: when an answer is lost, it is asked again
    and still done once."""

    def __init__(self, url: str, key: str) -> None:
        """Raises UsageError for an address that cannot be one, or that would carry the key in clear over a network."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{url!r} is no address of a server", where="--server", mend="Write https://HOST[:PORT].")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise UsageError(
                "the key would travel in clear", where="--server", mend=f"Write https://{parts.netloc}, behind TLS."
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        # A proxy of this shell would be told the key in clear on the way to this very machine.
        proxies = parts.scheme == "https"
        self._client = httpx.Client(
            base_url=self.url, headers=headers, timeout=_SECONDS, follow_redirects=False, trust_env=proxies
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def read(self, view: type[V], path: str, **query: object) -> V:
        """A document. Raises UnreachableError, and whatever the server refuses with."""
        return self._document(view, self._ask("GET", path, params=_given(query)))

    def json(self, path: str) -> Any:
        """A document that no verb has a name for. Raises as `read`."""
        return self._ask("GET", path).json()

    def done(self, view: type[V], path: str, method: str = "POST", **body: object) -> V:
        """Does something that is answered with a document."""
        answer = self._ask(method, path, json=_given(body) if method == "POST" else None, once=new_id())
        return self._document(view, answer)

    def _document(self, view: type[V], answer: httpx.Response) -> V:
        try:
            return view.model_validate_json(answer.content)
        except ValidationError as error:
            raise DistributorError(
                f"{self.url} answers in another version's words: {error.errors()[0]['msg']}",
                where=str(answer.request.url.path),
                mend="Use the same version here and there.",
            ) from error

    def _ask(
        self, method: str, path: str, *, params: Any = None, json: Any = None, once: str | None = None
    ) -> httpx.Response:
        headers = {"Idempotency-Key": once} if once else {}
        retrying = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, _StillAtItError)),
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )

        def sent() -> httpx.Response:
            answer = self._client.request(method, path, params=params, json=json, headers=headers)
            if once and _goes_on(answer):
                raise _StillAtItError
            return answer

        try:
            answer = retrying(sent)
        except (httpx.TransportError, _StillAtItError) as error:
            why = str(error) or "it is still at work"
            lost = " Look first whether it was done: that is not known." if once else ""
            raise UnreachableError(
                f"the server does not answer: {why}",
                where=self.url,
                mend=f"Is `distributor serve web` running there?{lost}",
            ) from error
        if answer.status_code >= 300:
            raise _problem(self.url, answer)
        return answer


def part(text: str) -> str:
    """One part of a path, whatever it holds."""
    return quote(text, safe="")


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _goes_on(answer: httpx.Response) -> bool:
    """Whether a write of the same idempotency key is being worked on: no other refusal with 409 may pass."""
    if answer.status_code != 409:
        return False
    try:
        return answer.json().get("retryable") is True
    except (ValueError, AttributeError):
        return False


def _problem(url: str, answer: httpx.Response) -> DistributorError:
    kind = _ERRORS.get(answer.status_code, DistributorError)
    try:
        told = answer.json()
        what, where, mend = str(told["what"]), str(told["where"]), str(told["mend"])
    except (ValueError, KeyError, TypeError):
        return kind(f"the server answered with status {answer.status_code}", where=url)
    return kind(what, where=where, mend=mend)
