"""Versions of what is read, and writes that are bound to one: `ETag`, `If-None-Match`, `If-Match`.

A tag is the number of the environment's version, and a digest of the answer. The digest tells whether the answer is
still the same to the letter; a write looks at the number alone: that a heartbeat came meanwhile is no reason to refuse.
"""

from __future__ import annotations

import hashlib
import re

from distributor.web.errors import ChangedMeanwhileError, InputError

_TAG = re.compile(r'\s*(?:W/)?"(?P<version>[0-9]{1,18})-[0-9a-f]{16}"\s*')


def tag(version: int, body: bytes) -> str:
    """The tag of an answer."""
    return f'"{version}-{hashlib.sha256(body).hexdigest()[:16]}"'


def is_known(given: str | None, current: str) -> bool:
    """Whether `If-None-Match` names the current tag. What makes an answer smaller on its way may have weakened it."""
    known = [one.strip().removeprefix("W/") for one in (given or "").split(",")]
    return current in known or known == ["*"]


def versions(given: str) -> list[int] | None:
    """The versions that `If-Match` names; None for any. Raises InputError for what is no tag of this service."""
    if given.strip() == "*":
        return None
    found = [_TAG.fullmatch(one) for one in given.split(",")]
    if not all(found):
        raise InputError("this is no tag of this service", where="header.if-match", mend="Send an ETag as it came.")
    return [int(one["version"]) for one in found if one]


def require(given: list[int] | None, current: int, environment: str) -> None:
    """Raises ChangedMeanwhileError unless the version is among those that were seen."""
    if given is not None and current not in given:
        raise ChangedMeanwhileError(
            f"{environment} has changed since it was looked at", where=environment, mend="Look again, then decide."
        )
