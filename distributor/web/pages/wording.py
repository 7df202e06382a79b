"""What templates write the same way everywhere: times, numbers, values, and a state as shape, word and colour."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from jinja2 import Environment
from markupsafe import Markup, escape

from distributor.views.members import LoadPart
from distributor.views.wording import SHORT, count, span, stamp

_SHAPES = {
    "good": Markup('<circle cx="6" cy="6" r="5"/>'),
    "moving": Markup('<path d="M6 1a5 5 0 0 1 0 10z"/><circle cx="6" cy="6" r="4.5" fill="none" stroke-width="1"/>'),
    "ready": Markup('<path d="M6 .5 11.5 6 6 11.5 .5 6z"/>'),
    "wait": Markup('<path d="M2 1h3v10H2zM7 1h3v10H7z"/>'),
    "late": Markup('<path d="M.5 2h11L6 11z"/>'),
    "bad": Markup('<path d="M6 .5 11.8 11H.2z"/>'),
    "back": Markup('<path d="M5 1v3h6v4H5v3L.5 6z"/>'),
    "none": Markup('<circle cx="6" cy="6" r="4.5" fill="none" stroke-width="1.2"/>'),
}
_COLOURS = {"ready": "moving", "wait": "late", "back": "late"}
_STATES = {
    "online": "good",
    "flipped": "good",
    "up": "good",
    "whole": "good",
    "heard": "good",
    "verified": "good",
    "level": "good",
    "done": "good",
    "open": "good",
    "staged": "ready",
    "converged": "ready",
    "loading": "moving",
    "staging": "moving",
    "flipping": "moving",
    "requested": "wait",
    "queued": "wait",
    "waiting": "wait",
    "held": "wait",
    "closed": "wait",
    "resetting": "moving",
    "rolling-out": "moving",
    "lagging": "late",
    "silent": "late",
    "reverting": "back",
    "reverted": "back",
    "stalled": "bad",
    "refused": "bad",
    "abandoned": "bad",
    "altered": "bad",
    "blocked": "bad",
    "broken": "bad",
    "failed": "bad",
}


@lru_cache(maxsize=512)
def state(word: str, said: str = "") -> Markup:
    """A state as a shape beside its word; `said` is written in the word's place. Unknown words have an empty ring."""
    kind = _STATES.get(word, "none")
    return Markup(
        '<span class="state {}"><svg class="mark" viewBox="0 0 12 12" aria-hidden="true">{}</svg>{}</span>'
    ).format(_COLOURS.get(kind, kind), _SHAPES[kind], said or word)


def tone(word: str) -> str:
    """The tone of a state, as a class: good, late, bad, moving, none."""
    kind = _STATES.get(word, "none")
    return _COLOURS.get(kind, kind)


def when(at: datetime | None) -> Markup:
    """A time to the second in UTC; whoever hovers or listens gets it with its zone."""
    if at is None:
        return Markup('<span class="quiet">–</span>')
    written = stamp(at)
    return Markup('<time class="nowrap" datetime="{}" title="{} UTC">{}</time>').format(
        at.isoformat(), written, written
    )


def clock(at: datetime | None) -> Markup:
    """The time of the day alone, to the millisecond: within one rollout the day is known."""
    if at is None:
        return Markup('<span class="quiet">–</span>')
    return Markup('<time class="nowrap" datetime="{}" title="{} UTC">{}</time>').format(
        at.isoformat(), stamp(at), f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
    )


def since(at: datetime | None, now: datetime, *, rough: bool = False) -> Markup:
    """How long something lasts, with its beginning for whoever wants it exactly. `rough`: in its largest unit alone."""
    if at is None:
        return Markup("")
    lasts = span(now - at)
    return Markup('<time class="nowrap" datetime="{}" title="since {} UTC">{}</time>').format(
        at.isoformat(), stamp(at), " ".join(lasts.split()[:2]) if rough else lasts
    )


def number(value: int | float | None) -> str:
    """`1,204`; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def share(load: LoadPart) -> str:
    """How much of a load is done."""
    return f"{100 * load.rows_done / load.rows_total:.0f} %" if load.rows_total else "–"


def seconds(value: float | None) -> str:
    """A length of time that is known in seconds."""
    return "–" if value is None else f"{value:.2f} s" if 1 <= value < 10 else span(timedelta(seconds=value))


def value(text: str | None) -> Markup:
    """A canonical text; NULL and the empty text cannot be mistaken for one another, nor for a word."""
    if text is None:
        return Markup('<span class="null">NULL</span>')
    return Markup('<span class="null">empty</span>') if text == "" else escape(text)


def key(parts: dict[str, str | None]) -> str:
    """A row's key on one line."""
    return " ".join("" if part is None else part for part in parts.values())


def plainly(content: object) -> str:
    """Whatever a detail holds, without the signs of a program: lists with commas, pairs with colons."""
    if isinstance(content, Mapping):
        return "; ".join(f"{name}: {plainly(part)}" for name, part in content.items())
    if isinstance(content, list | tuple):
        return ", ".join(f"({plainly(part)})" if isinstance(part, list | tuple) else plainly(part) for part in content)
    return "yes" if content is True else "no" if content is False else "–" if content is None else str(content)


def install(environment: Environment) -> None:
    """Makes these known to templates."""
    environment.globals.update(state=state, tone=tone)
    environment.tests["permitted"] = lambda name, may, act: may(act, name)
    environment.filters.update(
        when=when,
        clock=clock,
        since=since,
        span=span,
        number=number,
        seconds=seconds,
        share=share,
        value=value,
        key=key,
        plainly=plainly,
        count=count,
        short=lambda text: text[:SHORT],
    )
