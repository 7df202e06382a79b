"""Events as they go over the line: text/event-stream, made once for all clients."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.sse import format_sse_event

from distributor.ledger.events import AUDIT, RELEASE, EventRecord
from distributor.ledger.progress import MemberProgress
from distributor.views.events import Event, Gap, Progress

TIMELINE, PROGRESS, GAP = "timeline", "progress", "gap"
NAMES = (RELEASE, AUDIT, TIMELINE, PROGRESS, GAP)
"""The names of events on the line: a browser listens by name, and kinds of the timeline may be added."""
_RETRY_MS = 1000


@dataclass(frozen=True, slots=True)
class Framed:
    """An event, and its bytes."""

    record: EventRecord
    frame: bytes


def name_of(kind: str) -> str:
    """The name on the line of an event of this kind."""
    return kind if kind in (RELEASE, AUDIT) else TIMELINE


def framed(record: EventRecord) -> Framed:
    """An event with its bytes; its number is what a client resumes by."""
    data = Event.of(record).model_dump_json()
    return Framed(record, format_sse_event(data_str=data, event=name_of(record.kind), id=str(record.seq)))


def progress_frame(record: MemberProgress) -> bytes:
    """How far a load is; without an id, because nobody resumes by it."""
    return format_sse_event(data_str=Progress.of(record).model_dump_json(), event=PROGRESS)


def gap_frame(after: int, following: int) -> bytes:
    """What came after a position is not kept. Its id is the position to resume by from now on."""
    text = f"what happened between {after} and {following} is not kept: look at everything anew"
    data = Gap(after=after, next=following, text=text).model_dump_json()
    return format_sse_event(data_str=data, event=GAP, id=str(following - 1))


def opening() -> bytes:
    """The first bytes: proxies pass nothing on before there are any."""
    return format_sse_event(comment="events", retry=_RETRY_MS)


def position_frame(position: int) -> bytes:
    """A position to resume by, of which nothing is told."""
    return format_sse_event(comment="position", id=str(position))


def comment(text: str) -> bytes:
    """What clients ignore and people read."""
    return format_sse_event(comment=text)
