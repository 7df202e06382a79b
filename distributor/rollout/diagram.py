"""Draws a rollout's states from the table: `python -m distributor.rollout.diagram` prints docs/rollout-states.md."""

from __future__ import annotations

import sys

from distributor.rollout.happenings import Happening
from distributor.rollout.protocol import TABLE, Phase
from distributor.rollout.state import RolloutState

_FROM_THE_QUEUE = (RolloutState.SUPERSEDED, RolloutState.REFUSED)

_PAGE = """# The states of a rollout

Printed from the table in `distributor/rollout/protocol.py` by `python -m distributor.rollout.diagram`; a test compares.
Time that passes starts what is queued, decides what is converged, and refuses a request that waited too long.

```mermaid
{diagram}
```
"""


def transitions() -> dict[tuple[RolloutState, RolloutState], list[Happening]]:
    """(from, to) → what leads there, in the order of the table."""
    found: dict[tuple[RolloutState, RolloutState], list[Happening]] = {}
    for (happening, phase), cell in TABLE.items():
        for target in cell.to:
            causes = found.setdefault((_source(happening, phase, target), target), [])
            if happening not in causes:
                causes.append(happening)
    return found


def mermaid() -> str:
    """The diagram."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for (source, target), causes in sorted(transitions().items(), key=lambda found: _order(found[0])):
        lines.append(f"    {source.value} --> {target.value}: {', '.join(causes)}")
    lines += [f"    {state.value} --> [*]" for state in RolloutState if state.ended]
    return "\n".join(lines)


def page() -> str:
    """The page that the diagram stands on."""
    return _PAGE.format(diagram=mermaid())


def _source(happening: Happening, phase: Phase, target: RolloutState) -> RolloutState:
    """What waits is queued, whatever goes on beside it."""
    if phase is Phase.IDLE or target in _FROM_THE_QUEUE or happening is Happening.CALL_OFF:
        return RolloutState.QUEUED
    return RolloutState(phase.value)


def _order(edge: tuple[RolloutState, RolloutState]) -> tuple[int, int]:
    states = list(RolloutState)
    return states.index(edge[0]), states.index(edge[1])


if __name__ == "__main__":
    sys.stdout.write(page())
