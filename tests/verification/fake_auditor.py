"""A member's answers to audits, written out by hand from docs/certificates.md: two slots in memory, hashlib, dicts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.coordination.fake_member import stamp

Row = tuple[str | None, ...]
PART_ROWS = 7


@dataclass
class Slot:
    """What one slot stores: table → rows, the key first; `names` says which dataset a table shows, and its key."""

    release: int | None
    mapping: str
    tables: dict[str, list[Row]] = field(default_factory=dict)


@dataclass
class FakeAuditor:
    """Answers in several parts. `before` is called with each question first, and may alter the slots."""

    names: dict[str, tuple[str, int]]
    online: Slot
    shadow: Slot
    before: Callable[[dict[str, Any]], None] | None = None
    error: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append(question)
        if self.before:
            self.before(question)
        common = {name: question[name] for name in ("environment", "system", "audit_id", "depth")}
        common |= {"seconds": 0.25, "reported_at": stamp()}
        if self.error:
            return [{**common, "part": 1, "parts": 1, "error": self.error}]
        slots = {"online": self.online} | ({"shadow": self.shadow} if question["shadow"] else {})
        told = [{**common, **part} for name, slot in slots.items() for part in self._parts(name, slot, question)]
        return [{**part, "part": number, "parts": len(told)} for number, part in enumerate(told, 1)]

    def _parts(self, name: str, slot: Slot, question: dict[str, Any]) -> Iterator[dict[str, Any]]:
        common = {"slot": name, "release": slot.release, "mapping": slot.mapping}
        if slot.release is None:
            yield common
            return
        for table in question["tables"] or self.names:
            wanted = set(question["tables"].get(table, range(64)))
            dataset, width = self.names[table]
            rows = [(leaf(row[:width]), row[:width], lanes(dataset, row)) for row in slot.tables.get(table, [])]
            match question["depth"]:
                case "buckets":
                    yield {**common, "table": table, "sums": sums((place // 256 % 64, h) for place, _, h in rows)}
                case "leaves":
                    chosen = ((place, hashes) for place, _, hashes in rows if place // 256 % 64 in wanted)
                    yield {**common, "table": table, "sums": sums(chosen)}
                case _:
                    told = [
                        (key, f"{first:016x}", f"{second:016x}")
                        for place, key, (first, second) in rows
                        if place in wanted
                    ]
                    for start in range(0, len(told) or 1, PART_ROWS):
                        yield {**common, "table": table, "rows": told[start : start + PART_ROWS]}


def text(value: str | None) -> bytes:
    return b"-" if value is None else str(len(value.encode())).encode() + b":" + value.encode()


def leaf(key: Row) -> int:
    return int(hashlib.md5(b"".join(map(text, key))).hexdigest()[:4], 16)


def lanes(dataset: str, row: Row) -> tuple[int, int]:
    digest = hashlib.md5(b"".join(map(text, (dataset, *row)))).hexdigest()
    return int(digest[:16], 16), int(digest[16:], 16)


def sums(hashes: Iterator[tuple[int, tuple[int, int]]]) -> dict[int, tuple[int, str, str]]:
    found: dict[int, list[int]] = {}
    for place, (first, second) in hashes:
        entry = found.setdefault(place, [0, 0, 0])
        entry[:] = entry[0] + 1, (entry[1] + first) % 2**64, (entry[2] + second) % 2**64
    return {place: (rows, f"{first:016x}", f"{second:016x}") for place, (rows, first, second) in found.items()}
