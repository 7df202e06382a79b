"""The table of roles, and the one question that is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from distributor.errors import DistributorError


class ForbiddenError(DistributorError):
    """Whoever asks is known, and may not do this."""

    exit_code = 11


class Role(StrEnum):
    """What a key is for."""

    VIEWER = "viewer"
    TESTER = "tester"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


class Act(StrEnum):
    """Everything that can be done."""

    READ = "read"
    READ_LETTERS = "read dead letters"
    REQUEST_REFRESH = "request a refresh"
    HOLD = "hold"
    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    ABORT = "abort"
    DETACH = "detach"
    PIN = "pin"
    FOLLOW = "follow"
    PROMOTE = "promote"
    FREEZE = "freeze"
    CALL_TRIGGER = "call a trigger"
    VERIFY = "verify"
    HANDLE_LETTERS = "handle dead letters"
    HANDLE_QUARANTINE = "handle rows that are held back"
    OVERRULE = "end what others have asked for"
    APPROVE = "approve"
    KEYS = "manage keys"


_VIEWER = frozenset({Act.READ})
_TESTER = _VIEWER | {Act.REQUEST_REFRESH, Act.HOLD}
_OPERATOR = _TESTER | {
    Act.READ_LETTERS,
    Act.DEPLOY,
    Act.ROLLBACK,
    Act.ABORT,
    Act.DETACH,
    Act.PIN,
    Act.FOLLOW,
    Act.PROMOTE,
    Act.FREEZE,
    Act.CALL_TRIGGER,
    Act.VERIFY,
    Act.HANDLE_LETTERS,
    Act.HANDLE_QUARANTINE,
    Act.OVERRULE,
}

ACTS: Mapping[Role, frozenset[Act]] = {
    Role.VIEWER: _VIEWER,
    Role.TESTER: _TESTER,
    Role.OPERATOR: _OPERATOR,
    Role.APPROVER: _VIEWER | {Act.APPROVE},
    Role.ADMIN: frozenset(Act),
}
"""Role → what it may do. A tester ends only its own holds and requests; that is what OVERRULE is for."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks. `environments`: those that it is for; none named: all of them, and what concerns none."""

    name: str
    role: Role
    environments: tuple[str, ...] = ()


def sees(principal: Principal, environment: str) -> bool:
    """Whether an environment exists for this principal."""
    return not principal.environments or environment in principal.environments


def check(principal: Principal, act: Act, environment: str | None = None) -> None:
    """Raises ForbiddenError unless the principal may do this in the environment; None: what concerns no single one.

    Reading what belongs to all environments (releases, products) needs no key for all of them; doing does.
    """
    check_role(principal, act)
    if environment is None:
        if principal.environments and act is not Act.READ:
            raise ForbiddenError(
                f"this concerns more than what the key of {principal.name} is for, {', '.join(principal.environments)}",
                where="access",
                mend="Use a key for all environments.",
            )
    elif not sees(principal, environment):
        raise ForbiddenError(
            f"the key of {principal.name} is not for {environment}",
            where="access",
            mend=f"It is for {', '.join(principal.environments)}.",
        )


def check_role(principal: Principal, act: Act) -> None:
    """Raises ForbiddenError unless the principal may do this anywhere."""
    if act not in ACTS[principal.role]:
        may = ", ".join(role for role in Role if act in ACTS[role])
        raise ForbiddenError(
            f"{principal.name} is {_article(principal.role)} and may not {_infinitive(act)}",
            where="access",
            mend=f"These roles may: {may}.",
        )


def _article(role: Role) -> str:
    return f"{'an' if role[0] in 'ao' else 'a'} {role}"


def _infinitive(act: Act) -> str:
    return {Act.ROLLBACK: "roll back", Act.FOLLOW: "have an environment follow"}.get(act, act.value)
