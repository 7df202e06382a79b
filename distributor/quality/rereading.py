"""Rows that are held back are read again with every publish: what was in their way may have gone without them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from distributor.capture.journal import Taken
from distributor.ledger.quarantine import HeldRow, Key
from distributor.publishing.looking import Look


def with_held(look: Look, held: Iterable[HeldRow]) -> Look:
    """The look, with the keys of these rows among those that may have changed."""
    wanted: dict[str, set[Key]] = {}
    for row in held:
        if row.dataset in look.sources:
            wanted.setdefault(row.dataset, set()).add(row.key)
    keys = dict(look.taken.keys)
    for dataset, more in wanted.items():
        width = len(look.sources[dataset].schema.key)
        if dataset in look.taken.whole:
            continue
        taken = keys.get(dataset, frozenset())
        # No key may come twice, and one of several columns has more than one text in JSON.
        known = {_key(text, width) for text in taken}
        keys[dataset] = taken | {journal_text(key) for key in more if len(key) == width and key not in known}
    return replace(look, taken=Taken(keys, look.taken.whole))


def journal_text(key: Key) -> str:
    """A key as the journal has it."""
    return key[0] if len(key) == 1 else json.dumps(key, ensure_ascii=False)


def _key(text: str, width: int) -> Key:
    return (text,) if width == 1 else tuple(json.loads(text))
