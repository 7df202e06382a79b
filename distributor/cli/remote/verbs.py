"""Which verbs work through a server, and how one is run there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from distributor.cli.desk import Desk
from distributor.cli.outcome import Outcome
from distributor.cli.remote import reading, writing
from distributor.cli.remote.server import Server
from distributor.errors import UsageError

KEY = "DISTRIBUTOR_KEY"


def run(name: str, url: str, desk: Desk, given: Mapping[str, Any]) -> Outcome:
    """Runs a verb, by the name of its function, as `verb(desk, **given)` would. Raises UsageError without a key."""
    key = os.environ.get(KEY, "").strip()  # noqa: TID251
    if not key:
        raise UsageError(
            "the server must know who asks", where="--server", mend=f"Put the key into the environment, as {KEY}."
        )
    with Server(url, key) as server:
        if found := getattr(writing, name, None):
            done = found(server, desk, **writing.checked(given))
        else:
            done = getattr(reading, name)(server, **given)
    assert isinstance(done, Outcome)
    return done
