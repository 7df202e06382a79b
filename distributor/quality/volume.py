"""Rules about the size of a delivery, pure: rows of a dataset after this release beside those before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from distributor.settings.rules import Volume


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows before and after, and how many of them were deleted and updated; those are None where nobody knows."""

    before: int
    after: int
    deletes: int | None
    updates: int | None


def violations(volume: Volume, sizes: Sizes) -> Iterator[str]:
    """What is too little or too much, each half a sentence with its figures."""
    if volume.min_rows is not None and sizes.after < volume.min_rows:
        yield f"{sizes.after:,} rows, and at least {volume.min_rows:,} are expected"
    if volume.max_rows is not None and sizes.after > volume.max_rows:
        yield f"{sizes.after:,} rows, and at most {volume.max_rows:,} are expected"
    if not sizes.before:
        return
    of = f"of {sizes.before:,}"
    if volume.min_share is not None and sizes.after < volume.min_share * sizes.before:
        yield f"{sizes.after:,} rows after {sizes.before:,}, and at least {volume.min_share:.1%} {of} are expected"
    if volume.max_share is not None and sizes.after > volume.max_share * sizes.before:
        yield f"{sizes.after:,} rows after {sizes.before:,}, and at most {volume.max_share:.1%} {of} are expected"
    for what, rows, limit in (
        ("deleted", sizes.deletes, volume.max_deletes_share),
        ("updated", sizes.updates, volume.max_updates_share),
    ):
        if rows is not None and limit is not None and rows > limit * sizes.before:
            yield f"{rows:,} rows are {what}, and at most {limit:.1%} {of} may be"
