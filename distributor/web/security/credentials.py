"""Who asks: a key in the Authorization header, or the login of the pages in a cookie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from distributor.access.roles import Act, ForbiddenError, Principal, check, sees
from distributor.errors import NotThereError
from distributor.ledger import keys, sessions
from distributor.ledger.engine import transaction
from distributor.ledger.keys import Key
from distributor.ledger.sessions import Session
from distributor.telemetry.clock import now
from distributor.web.backstage import Backstage
from distributor.web.errors import UnauthenticatedError
from distributor.web.security import csrf

COOKIE = "distributor_session"

_key = HTTPBearer(scheme_name="key", description="A key of `distributor key create`.", auto_error=False)
_session = APIKeyCookie(
    name=COOKIE,
    scheme_name="session",
    description="The login of the pages; what writes needs the header X-CSRF-Token as well.",
    auto_error=False,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of itself; nothing of it has been looked at yet."""

    key: str | None
    token: str | None
    csrf: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `session` is None where a key was shown."""

    key: Key
    session: Session | None
    settings_environments: tuple[str, ...]
    clear: bool
    """Whether some environment that it is for sees data in clear."""

    @property
    def principal(self) -> Principal:
        """For `access.check`."""
        return self.key.principal

    @property
    def name(self) -> str:
        """As the audit knows it."""
        return self.key.name

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments of the config that exist for this caller, in the config's order."""
        return tuple(name for name in self.settings_environments if sees(self.principal, name))

    @property
    def scope(self) -> tuple[str, ...] | None:
        """The environments to which lists are narrowed down; None: they are not."""
        return self.principal.environments or None

    def one(self, environment: str | None) -> str | None:
        """The environment that a list is asked for, if any. Raises NotThereError."""
        return None if environment is None else self.known(environment)

    @property
    def reads_clear(self) -> bool:
        """Whether it may read rows in clear: it is for all environments, or for one that is not masked."""
        return self.clear or not self.scope

    def check_clear(self) -> None:
        """Raises ForbiddenError for a key that is for masked environments only: it reads no rows in clear."""
        if not self.reads_clear:
            raise ForbiddenError(
                f"the key of {self.name} is for environments whose data is masked",
                where="access",
                mend="Rows in clear are for keys of other environments.",
            )

    def sees(self, environment: str) -> bool:
        """Whether this environment, in the config or in the past only, exists for this caller."""
        return sees(self.principal, environment)

    def may(self, act: Act, environment: str | None = None) -> bool:
        """Whether `check` would let it pass: what a page offers."""
        try:
            check(self.principal, act, environment)
        except ForbiddenError:
            return False
        return True

    def check(self, act: Act, environment: str | None = None) -> None:
        """Raises ForbiddenError; NotThereError for an environment that does not exist for this caller."""
        if environment is not None:
            self.known(environment)
        check(self.principal, act, environment)

    def known(self, environment: str) -> str:
        """The name of an environment of the config. Raises NotThereError, which names those that the caller may see."""
        if environment not in self.environments:
            raise NotThereError(
                f"there is no environment {environment!r}",
                where="config",
                mend=f"Known: {', '.join(self.environments) or 'none'}.",
            )
        return environment


async def shown(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_key)],
    token: Annotated[str | None, Depends(_session)],
) -> Shown:
    """What a request shows; reading a form has to wait for the network, so it is done here."""
    if bearer is not None:
        return Shown(bearer.credentials, None, None)
    needed = token is not None and request.method not in csrf.SAFE
    return Shown(None, token, await csrf.token_of(request) if needed else None)


def caller(request: Request, backstage: Backstage, shown: Shown) -> Caller:
    """Whoever asks. Raises UnauthenticatedError; ForbiddenError for what another site has sent."""
    at = now()
    session: Session | None = None
    with transaction(backstage.asking) as conn:
        if shown.key is not None:
            key = keys.shown(conn, shown.key, at)
        else:
            session = sessions.session(conn, shown.token, at) if shown.token else None
            key = session.key if session else None
        if key is None:
            raise _nobody(shown)
        if session is not None and request.method not in csrf.SAFE:
            csrf.check(request, shown.csrf, session.csrf)
        keys.note_use(conn, key, at)
    masked = {name: config.masking is not None for name, config in backstage.settings.environments.items()}
    clear = any(sees(key.principal, name) and not is_masked for name, is_masked in masked.items())
    return Caller(key, session, tuple(masked), clear)


def _nobody(shown: Shown) -> UnauthenticatedError:
    if shown.key is not None:
        what = "this key opens nothing: there is no such key, or it has expired or was revoked"
    elif shown.token is not None:
        what = "this login is over"
    else:
        what = "this needs a key"
    return UnauthenticatedError(what, mend="Send `Authorization: Bearer KEY`; `distributor key create` makes keys.")
