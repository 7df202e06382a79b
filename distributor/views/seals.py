"""Whether the audit is as it was sealed."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from pydantic import Field

from distributor.errors import UsageError
from distributor.views.base import View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from distributor.ledger.sealing import Difference, SealedRow

LISTED = 100
"""How many differences are named."""
_HEAD = re.compile(r"(?:(\d+):)?([0-9a-f]{64})")
_SENTENCES = {
    "row changed": "its row is not as it was sealed, or the one before it was taken out and the rest numbered anew",
    "row missing": "its row is gone",
    "seal changed": "its seal was changed; its row is as it was",
    "row or seal changed": "its row does not fit its seal; which of them was changed cannot be told",
    "gap": "it is gone, with everything up to the next one",
    "unsealed row": "no seal is of this row: it was added past the trigger, or its seal was taken out",
    "head gone": "it is not in the chain: rows were taken from the end, or the chain was made anew",
}


class SealDifference(View):
    """Something that is not as it was sealed."""

    seq: int | None
    """The number in the chain; null for a row that has none."""
    audit_id: int | None
    """The id of the audit's row; null where none is concerned."""
    kind: str
    """`row changed`, `row missing`, `seal changed`, `row or seal changed`, `gap`, `unsealed row` or `head gone`."""
    what: str
    """The same in a sentence."""


class Seals(View):
    """The audit against its seals."""

    rows: int
    """How many sealed rows were looked at."""
    head: str | None
    """The newest seal as NUMBER:SEAL, to be noted where nobody can alter it; null as long as nothing is sealed."""
    expected: str | None
    """The head noted formerly, as it was given; null when none was."""
    found: int
    """How many differences there are."""
    differences: tuple[SealDifference, ...] = Field(max_length=LISTED)
    """The first of them, at most 100, by their numbers in the chain; rows without a number come last."""


def seals(conn: Connection, expected: str | None = None) -> Seals:
    """Recomputes the whole chain from the rows, at one moment; the transaction must not have looked at anything yet.

    `expected` is a head noted formerly: SEAL or NUMBER:SEAL. Raises UsageError when it is neither.
    """
    from distributor.ledger import sealing

    noted = _Noted(expected)
    sealing.of_one_moment(conn)
    walk = _Walk(noted)
    found, first = 0, []
    everything = (sealing.differences(walk.along(sealing.links(conn))), noted.missed(), sealing.unsealed(conn))
    for difference in chain.from_iterable(everything):
        found += 1
        if found <= LISTED:
            first.append(_told(difference))
    head = f"{walk.last.seq}:{walk.last.seal}" if walk.last else None
    return Seals(rows=walk.rows, head=head, expected=expected, found=found, differences=tuple(first))


class _Noted:
    """A head that somebody noted, looked for in the chain."""

    def __init__(self, expected: str | None) -> None:
        match = _HEAD.fullmatch((expected or "").strip().lower())
        if expected is not None and match is None:
            raise UsageError(
                "this is no head of the audit",
                where="--expect",
                mend="Write NUMBER:SEAL as `audit --verify` says it, or the seal alone.",
            )
        self._seq = int(match[1]) if match and match[1] else None
        self._seal = match[2] if match else None
        self._seen = match is None

    def look(self, link: SealedRow) -> None:
        self._seen |= link.seal == self._seal and self._seq in (None, link.seq)

    def missed(self) -> Iterator[Difference]:
        from distributor.ledger.sealing import Difference

        if not self._seen:
            yield Difference("head gone", self._seq, None)


class _Walk:
    """Counts links while they are judged, and remembers the last."""

    def __init__(self, noted: _Noted) -> None:
        self._noted = noted
        self.rows = 0
        self.last: SealedRow | None = None

    def along(self, links: Iterable[SealedRow]) -> Iterator[SealedRow]:
        for link in links:
            self.rows, self.last = self.rows + 1, link
            self._noted.look(link)
            yield link


def _told(difference: Difference) -> SealDifference:
    return SealDifference(
        seq=difference.seq,
        audit_id=difference.audit_id,
        kind=difference.kind,
        what=_SENTENCES[difference.kind],
    )
