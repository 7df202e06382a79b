"""The seals of the audit, computed from its rows and compared with those that are kept: docs/audit.md.

The ledger seals with SQL when a transaction commits. Here nothing of that is used: the same from the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from sqlalchemy import Connection, Text, cast, exists, select, text

from distributor.ledger.desk_tables import audit_chain
from distributor.ledger.tables import audit

NOTHING = "0" * 64
"""What comes before the first seal."""
BATCH = 5_000
_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00")

Kind = Literal["row changed", "row missing", "seal changed", "row or seal changed", "gap", "unsealed row", "head gone"]


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One link: the seal, and the row it is of as texts of PostgreSQL; `words` is None when the row is gone.

    The words are id, at, who, what, why, environment, detail.
    """

    seq: int
    audit_id: int
    seal: str
    words: Sequence[str | None] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not fit. `seq` is None where no link is concerned, `audit_id` where no row is."""

    kind: Kind
    seq: int | None
    audit_id: int | None


def netstring(word: str | None) -> bytes:
    """A word with its length in bytes before it, so that no other words look the same when joined."""
    if word is None:
        return b"-,"
    data = word.encode()
    return b"%d:%b," % (len(data), data)


def seal(previous: str, words: Sequence[str | None]) -> str:
    """The seal of a row after that of the row before it."""
    number, at, *others = words
    return sha256(previous.encode() + b"".join(map(netstring, (number, _utc(at), *others)))).hexdigest()


def _utc(at: str | None) -> str | None:
    """PostgreSQL's text of a time as it is sealed; one that it cannot be is left as it is, and fits no seal."""
    found = _TIME.fullmatch(at or "")
    return f"{found[1]}T{found[2]}.{found[3] or '':0<6}Z" if found else at


def differences(links: Iterable[SealedRow]) -> Iterator[Difference]:
    """What does not fit, in the order of seals. Each link is judged by the seal before it, if that is the true one."""
    previous, before = NOTHING, 0
    suspect: tuple[SealedRow, str] | None = None
    for link in links:
        if suspect:
            found = _which(*suspect, link)
            previous = suspect[1] if found.kind == "seal changed" else previous
            suspect = None
            yield found
        follows = link.seq == before + 1
        if not follows:
            yield Difference("gap", before + 1, None)
        if link.words is None:
            yield Difference("row missing", link.seq, link.audit_id)
        elif follows and (expected := seal(previous, link.words)) != link.seal:
            suspect = (link, expected)
        previous, before = link.seal, link.seq
    if suspect:
        yield Difference("row or seal changed", suspect[0].seq, suspect[0].audit_id)


def _which(link: SealedRow, expected: str, after: SealedRow) -> Difference:
    """Whether a link's row was changed or its seal: the seal after it was made over the one that was true."""
    kind: Kind = "row or seal changed"
    if after.words is not None and after.seq == link.seq + 1:
        if seal(link.seal, after.words) == after.seal:
            kind = "row changed"
        elif seal(expected, after.words) == after.seal:
            kind = "seal changed"
    return Difference(kind, link.seq, link.audit_id)


def of_one_moment(conn: Connection) -> None:
    """Begins a transaction in which all is as it was at its first look, and times are written in one way."""
    conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    conn.execute(text("SET LOCAL timezone = 'UTC'"))
    conn.execute(text("SET LOCAL datestyle = 'ISO'"))


def links(conn: Connection) -> Iterator[SealedRow]:
    """The whole chain in the order of seals, BATCH rows in memory at a time."""
    words = [cast(audit.c[name], Text) for name in ("id", "at", "who", "what", "why", "environment", "detail")]
    query = (
        select(audit_chain.c.seq, audit_chain.c.audit_id, audit_chain.c.seal, *words)
        .join_from(audit_chain, audit, audit.c.id == audit_chain.c.audit_id, isouter=True)
        .order_by(audit_chain.c.seq)
    )
    for number, audit_id, kept, *row in conn.execute(query, execution_options={"yield_per": BATCH}):
        yield SealedRow(number, audit_id, kept, None if row[0] is None else row)


def unsealed(conn: Connection) -> Iterator[Difference]:
    """Rows that no seal is of, by id."""
    query = select(audit.c.id).where(~exists().where(audit_chain.c.audit_id == audit.c.id)).order_by(audit.c.id)
    for (number,) in conn.execute(query, execution_options={"yield_per": BATCH}):
        yield Difference("unsealed row", None, number)
