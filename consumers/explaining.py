"""A plan in words, for whoever waits for it."""

from __future__ import annotations

from consumers.planning import Plan
from distributor.store.told import count, in_words


def told(plan: Plan) -> str:
    """The way in one line: `delta of 12 rows over 1 release`, `base of release 812 (1,000 rows) + 3 releases`."""
    repair = f"{count(plan.repair.rows, 'row')} of a repair list" if plan.repair else ""
    way = in_words(plan.chain, from_nothing=bool(plan.rebuild))
    anew = f"{', '.join(sorted(plan.anew))} anew in another shape" if plan.anew else ""
    return ", ".join(filter(None, (way, anew, repair))) or "nothing to load"
