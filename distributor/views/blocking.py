"""What is waited for, as verbs tell it: a sentence, and the commands that would help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from distributor.rollout.blockers import Blocker, Reason
from distributor.views.base import View
from distributor.views.wording import plain


class BlockerPart(View):
    """One thing that is waited for."""

    reason: Reason
    """Why it does not get on: `coordinator` or `broker` is away, `hold`, `silent` (a member that was not heard of for
    30 s), `unheard` (one that never was), `stalled` (its load or flip does not move), `refused` (for now), `loading`,
    `unanswered`, `queued`, `blocked`, `joining`, `detached`, `not-followed`."""
    who: str
    """The system, the hold's owner, the environment, `coordinator` or `broker`."""
    what: str
    """What is the matter, in a sentence; of a database with the blocking session and its query."""
    since: datetime | None
    """Since when, in UTC; null when that is not known."""
    helps: tuple[str, ...]
    """Commands that would help, the mildest first: for a shell, or for the client of the system's own store."""

    @classmethod
    def of(cls, blocker: Blocker) -> BlockerPart:
        """A blocker as the rule-book has it. What strangers wrote into it does not move the cursor."""
        return cls(
            reason=blocker.reason,
            who=blocker.who,
            what=plain(blocker.what),
            since=blocker.since,
            helps=tuple(map(plain, blocker.helps)),
        )


# What goes its way is in the sentence before, and in the table of members.
_IN_ORDER = (Reason.LOADING, Reason.UNANSWERED, Reason.QUEUED)


def lines(blockers: Iterable[BlockerPart], *, loads: bool = False) -> Iterator[str]:
    """A line for each that is not in order, and one for each command, so that it can be copied. `loads`: these too."""
    for blocker in blockers:
        if blocker.reason in _IN_ORDER and not blocker.helps and not (loads and blocker.reason is Reason.LOADING):
            continue
        yield blocker.what
        for number, command in enumerate(blocker.helps):
            yield f"    {'or' if number else 'try'}: {command}"
