"""What releases did to one row, and when every environment first showed that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from distributor.views.base import View
from distributor.views.changes import FieldChange

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.views.lookback import Lookback, Passed, Row, Value


class PutOnline(View):
    """When an environment first showed a change."""

    environment: str
    """The environment."""
    release: int
    """The release with which the change came there: the one that made it, or a later one."""
    rollout: str
    """The id of the rollout that brought it."""
    at: datetime
    """When that ended, in UTC: from then on every required system showed it."""


class ProductChange(View):
    """What one release did to the row."""

    release: int
    """The release."""
    published_at: datetime
    """When it was published, in UTC."""
    op: Literal["insert", "update", "delete"]
    """What happened to the row."""
    fields: tuple[FieldChange, ...]
    """The fields that differ, without the key; of an inserted or deleted row those that are not NULL."""
    restart: tuple[str, ...]
    """What changed of the dataset's columns with this release; mostly empty."""
    online: tuple[PutOnline, ...]
    """Where and when it went online first; environments that have not shown it yet are missing."""


def history(
    conn: Connection, lookback: Lookback, environments: Mapping[str, Lookback | None], limit: int
) -> tuple[tuple[ProductChange, ...], bool]:
    """The newest changes of a row that was looked back at, and whether there are more than `limit`.

    `environments`: each with the row as it sees it, None where that is not known.
    """
    found = list(_changes(lookback))
    told = found[:limit]
    online = _online(conn, [one.position.release for one, _, _ in told], environments)
    return tuple(
        ProductChange(
            release=one.position.release,
            published_at=one.created_at,
            op="insert" if before is None else "delete" if after is None else "update",
            fields=_fields(before or {}, after or {}, lookback.key),
            restart=one.restart,
            online=online[one.position.release],
        )
        for one, before, after in told
    ), len(found) > limit


def _changes(lookback: Lookback) -> Iterator[tuple[Passed, Row | None, Row | None]]:
    """Releases that changed the row, newest first, with the row before and after."""
    from distributor.views.lookback import Unknown

    older: list[Value] = [*(one.value for one in lookback.passed[1:]), lookback.before_all]
    for one, earlier in zip(lookback.passed, older, strict=False):
        if one.change and not one.restart:
            yield one, one.change.before, one.change.after
        elif one.restart:
            # All rows are written anew, in another shape: what was there before tells what became of this one.
            before = None if isinstance(earlier, Unknown) else earlier
            after = one.change.after if one.change else None
            if before is not None or after is not None:
                yield one, before, after


def _fields(before: Row, after: Row, key: Mapping[str, str]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(column=name, before=before.get(name), after=after.get(name))
        for name in dict.fromkeys((*after, *before))
        if before.get(name) != after.get(name) and name not in key
    )


def _online(
    conn: Connection, numbers: Sequence[int], environments: Mapping[str, Lookback | None]
) -> dict[int, tuple[PutOnline, ...]]:
    """Release → where and when its change went online first."""
    from distributor.ledger import rollouts, variants
    from distributor.store.chain import Position

    found: dict[int, list[PutOnline]] = {number: [] for number in numbers}
    for environment, lookback in environments.items() if numbers else ():
        brought = rollouts.brought_online(conn, environment, min(numbers))
        manifests = variants.manifests(conn, environment, {one.release for one in brought})
        lacking = {
            number
            for number, sha256 in manifests.items()
            if lookback and lookback.held_back_by(Position(number, sha256))
        }
        for number in numbers:
            first = next((one for one in brought if one.release >= number and one.release not in lacking), None)
            if first:
                found[number].append(
                    PutOnline(environment=environment, release=first.release, rollout=first.id, at=first.at)
                )
    return {number: tuple(places) for number, places in found.items()}
