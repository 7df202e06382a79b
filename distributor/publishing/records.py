"""The records of a CSV file, strictly: nothing is guessed, and a record that is broken takes no other one with it.

A lenient reader is worse than none: PostgreSQL's takes a quote inside a value for the beginning of a quoted part, drops
it, and goes on to the next one, however many lines that is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LONGEST = 16 << 20
_TORN_INTO = 20
_OPEN = "a quote is opened and never closed"


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands in the file, without its line end. `line` is where it begins, from 1; `reason` says why it
    is no record of the file's columns, and is empty for one that is."""

    line: int
    text: str
    reason: str = ""


def records(lines: Iterable[bytes], width: int, delimiter: str, first: int) -> Iterator[Record]:
    """All that a file has after its header, in order. `lines` keep their line ends; the first one has the number
    `first`. Empty lines are none, unless there is one column."""
    return _Reader(iter(enumerate(lines, first)), width, delimiter).run()


class _Reader:
    def __init__(self, lines: Iterator[tuple[int, bytes]], width: int, delimiter: str) -> None:
        self._lines, self._width, self._delimiter = lines, width, delimiter
        self._waiting: deque[tuple[int, bytes]] = deque()

    def run(self) -> Iterator[Record]:
        width, delimiter = self._width, self._delimiter
        while (numbered := self._next()) is not None:
            line, raw = numbered
            text, reason = _decoded(raw)
            if reason:
                yield Record(line, text, reason)
            elif '"' not in text:
                if text.count(delimiter) + 1 != width or "\r" in text:
                    if text or width == 1:
                        yield from self._short(line, text)
                else:
                    yield Record(line, text)
            else:
                yield from self._quoted(line, text, raw)

    def _next(self) -> tuple[int, bytes] | None:
        return self._waiting.popleft() if self._waiting else next(self._lines, None)

    def _quoted(self, line: int, text: str, raw: bytes) -> Iterator[Record]:
        fields, reason = parse(text, self._delimiter)
        more: list[tuple[int, bytes]] = []
        # Line ends inside a value are the value's.
        whole, size, end = [text], len(text), _end(raw)
        while reason == _OPEN and size < _LONGEST and (numbered := self._next()) is not None:
            more.append(numbered)
            piece, wrong = _decoded(numbered[1])
            if wrong:
                break
            whole += end, piece
            size, end = size + len(piece), _end(numbered[1])
            if '"' in piece:
                fields, reason = parse("".join(whole), self._delimiter)
        if not reason and fields == self._width:
            yield Record(line, "".join(whole))
            return
        # What it swallowed may be sound: only its own line is broken for sure.
        self._waiting.extendleft(reversed(more))
        if reason or more:
            yield Record(line, text, reason or self._counted(fields))
        else:
            yield from self._short(line, text)

    def _short(self, line: int, text: str) -> Iterator[Record]:
        """A record of another number of values; with the lines after it, where these are its rest."""
        fields, reason = parse(text, self._delimiter)
        if reason:
            yield Record(line, text, reason)
            return
        counted = self._counted(fields)
        rest: list[tuple[int, bytes]] = []
        torn = [Record(line, text, f"{counted}: torn by a line end")]
        while fields < self._width and len(rest) < _TORN_INTO and (numbered := self._next()) is not None:
            rest.append(numbered)
            piece, wrong = _decoded(numbered[1])
            more, wrong = (0, wrong) if wrong else parse(piece, self._delimiter)
            if wrong:
                break
            fields += more - 1
            torn.append(Record(numbered[0], piece, f"it may be the rest of line {line}, which is torn by a line end"))
        if rest and fields == self._width:
            yield from torn
            return
        self._waiting.extendleft(reversed(rest))
        yield Record(line, text, counted)

    def _counted(self, fields: int) -> str:
        return f"it has {fields} value{'' if fields == 1 else 's'}, and there are {self._width} columns"


def parse(text: str, delimiter: str) -> tuple[int, str]:
    """How many values a record has, and why it is none: RFC 4180, with any delimiter."""
    at = fields = 0
    while True:
        fields += 1
        if text.startswith('"', at):
            end = _closing(text, at + 1)
            if end < 0:
                return fields, _OPEN
            if end + 1 == len(text):
                return fields, ""
            if text[end + 1] != delimiter:
                return fields, "text follows the quote that closes a value"
            at = end + 2
        else:
            end = text.find(delimiter, at)
            value = text[at:] if end < 0 else text[at:end]
            if '"' in value:
                return fields, "a quote stands in a value that is not quoted"
            if "\r" in value:
                return fields, "a carriage return stands in a value that is not quoted"
            if end < 0:
                return fields, ""
            at = end + 1


def _closing(text: str, at: int) -> int:
    while (found := text.find('"', at)) >= 0:
        if not text.startswith('"', found + 1):
            return found
        at = found + 2
    return -1


def _end(raw: bytes) -> str:
    return "\r\n" if raw.endswith(b"\r\n") else "\n"


def _decoded(raw: bytes) -> tuple[str, str]:
    """A line without its end, and why it is no text."""
    line = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return line.decode(errors="backslashreplace"), "it is not UTF-8"
    return (text, "it has a NUL character") if "\0" in text else (text, "")
