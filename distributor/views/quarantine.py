"""Rows that are held back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from distributor.errors import RefusedError, UsageError
from distributor.views.base import View

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.quarantine import HeldRow
    from distributor.masking.policy import Policy

PUBLISH = "publish"
MASKED = "(masked)"


class HeldLine(View):
    """A row that is held back."""

    environment: str
    """The environment that lacks it; `*` is every one."""
    dataset: str
    """Its dataset."""
    key: tuple[str, ...]
    """Its key, as canonical texts."""
    system: str
    """The system that cannot take it; `publish` where a quality rule holds it back when a release is made."""
    table: str
    """The system's table; the dataset for `publish`."""
    column: str
    """The column with the value that is in the way."""
    value: str | None
    """That value, shortened; null is NULL."""
    why: str
    """Which rule it fails, or why it cannot be taken."""
    release: int
    """The release that was made without it first."""
    since: datetime
    """Since when, in UTC."""
    released: str | None
    """The reason for which the next release has it as it is; null when nobody said so."""

    @classmethod
    def of(cls, row: HeldRow) -> HeldLine:
        """A row as the ledger has it."""
        shared = {name: getattr(row, name) for name in cls.model_fields if name not in ("system", "released")}
        return cls(**shared, system=row.system or PUBLISH, released=row.let_pass)


class HeldRows(View):
    """Rows that are held back."""

    held_back: tuple[HeldLine, ...]
    """The rows, by environment, dataset and key."""


class Handled(View):
    """What becomes of rows that are held back."""

    action: Literal["retry", "release"]
    """`retry`: they are read and judged again; `release`: they go out as they are."""
    rows: tuple[HeldLine, ...]
    """The rows as they were."""
    dry_run: bool
    """Whether nothing was changed because of `--dry-run`."""


def held_rows(
    conn: Connection,
    *,
    environment: str | None = None,
    dataset: str | None = None,
    key: Sequence[str] = (),
    policy: Policy | None = None,
) -> HeldRows:
    """The rows that are held back; with `environment` what it lacks, for whatever reason.

    `policy`: the masking policy under which that environment sees rows. Rows that every environment lacks were
    judged in clear: of datasets of which it does not see everything, nothing is told but that there are some.
    """
    from distributor.ledger.quarantine import EVERYWHERE, held

    wanted = [
        row for row in held(conn, None) if environment in (None, row.environment) or row.environment == EVERYWHERE
    ]
    lines = map(HeldLine.of, _of(wanted, dataset, key))
    return HeldRows(held_back=tuple(_as_seen(line, policy) for line in lines))


def chosen(
    conn: Connection,
    *,
    environment: str | None = None,
    every: bool = False,
    dataset: str | None = None,
    key: Sequence[str] = (),
    releasing: bool = False,
) -> Sequence[HeldRow]:
    """The rows that somebody names to have them tried again, or released. `environment`: those that it alone lacks;
    None: those that every one lacks; `every`: both.

    Raises UsageError when nothing is named, RefusedError when no such row is held back.
    """
    from distributor.ledger.quarantine import EVERYWHERE, held
    from distributor.quality.holding import DEPENDS

    if not (environment or every or dataset or key):
        raise UsageError("no row is named", where="quarantine", mend="Give --dataset, --key, --environment or --all.")
    found = held(conn, None if every and not releasing else environment or EVERYWHERE)
    rows = _of(found, dataset, key)
    if releasing and not rows:
        # What one environment lacks cannot be released, and its refusal says why.
        rows = _of(held(conn, None), dataset, key)
    if releasing and not key:
        # Those that only reference others go with them.
        rows = [row for row in rows if not row.why.startswith(DEPENDS)]
    if not rows:
        raise RefusedError("no such row is held back", where="quarantine", mend="See `distributor quarantine list`.")
    return rows


def _as_seen(line: HeldLine, policy: Policy | None) -> HeldLine:
    from distributor.ledger.quarantine import EVERYWHERE

    if policy is None or line.environment != EVERYWHERE or not policy.columns.get(line.dataset):
        return line
    told = {"key": tuple(MASKED for _ in line.key), "value": MASKED, "why": "a quality rule holds it back"}
    return line.model_copy(update={**told, "released": None})


def _of(rows: Sequence[HeldRow], dataset: str | None, key: Sequence[str]) -> Sequence[HeldRow]:
    return [row for row in rows if dataset in (None, row.dataset) and (not key or row.key == tuple(key))]
