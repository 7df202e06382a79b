"""The table of roles, said once more by hand: a change of it is a decision, not an accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.access.roles import ACTS, Act, ForbiddenError, Principal, Role, check, sees

_TESTER = {"read", "request a refresh", "hold"}
_OPERATOR = _TESTER | {
    "read dead letters",
    "deploy",
    "rollback",
    "abort",
    "detach",
    "pin",
    "follow",
    "promote",
    "freeze",
    "call a trigger",
    "verify",
    "handle dead letters",
    "handle rows that are held back",
    "end what others have asked for",
}
TABLE = {
    "viewer": {"read"},
    "tester": _TESTER,
    "operator": _OPERATOR,
    "approver": {"read", "approve"},
    "admin": _OPERATOR | {"approve", "manage keys"},
}


def test_each_role_may_do_this_and_nothing_else() -> None:
    assert {role.value: {act.value for act in acts} for role, acts in ACTS.items()} == TABLE


@given(st.sampled_from(Role), st.sampled_from(Act), st.sets(st.sampled_from("abc")), st.sampled_from([*"abcd", None]))
def test_what_is_let_pass(role: Role, act: Act, scope: set[str], environment: str | None) -> None:
    """Against the rule in other words: the role has the act, and the key is for where it is done."""
    principal = Principal("somebody", role, tuple(sorted(scope)))
    has = act.value in TABLE[role.value]
    reaches = not scope or (act is Act.READ if environment is None else environment in scope)
    try:
        check(principal, act, environment)
    except ForbiddenError:
        assert not (has and reaches)
    else:
        assert has
        assert reaches


def test_a_refusal_names_who_may() -> None:
    with pytest.raises(ForbiddenError, match=r"eve is a tester and may not deploy.*operator, admin") as refused:
        check(Principal("eve", Role.TESTER), Act.DEPLOY, "prod")
    assert refused.value.where == "access"
    assert not refused.value.retryable


def test_a_key_for_some_environments_sees_those_only() -> None:
    assert [name for name in ("uat", "prod") if sees(Principal("eve", Role.ADMIN, ("uat",)), name)] == ["uat"]
    assert sees(Principal("eve", Role.VIEWER), "prod")
