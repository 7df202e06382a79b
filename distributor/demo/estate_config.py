"""What an estate is made of, and the config file that says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from distributor.demo.tables import Table


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """A system: its adapter, and dataset → the name of its own table; or all of its tables as the config has them
    (`mapping`), as its users know them (`facts`), and its `options`. None of these: every dataset as it is."""

    name: str
    adapter: str
    tables: Mapping[str, str] = field(default_factory=dict)
    required: bool = True
    mapping: str = ""
    facts: tuple[Table, ...] = ()
    options: str = ""


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """An environment: who is in it, and how it behaves. Durations as the config writes them; `more` are others.

    `triggers` are inline tables of the config.
    """

    name: str
    follow: str
    systems: tuple[SystemPlan, ...]
    keep_previous: str = "0s"
    flip_lead: str = "30ms"
    more: Mapping[str, str] = field(default_factory=dict)
    triggers: tuple[str, ...] = ()


def config_text(
    environments: Sequence[EnvironmentPlan],
    *,
    master: str,
    ledger: str,
    broker: str,
    quiet_period: str,
    datasets: Mapping[str, str],
    references: Mapping[str, Mapping[str, str]],
    member_url: Callable[[EnvironmentPlan, SystemPlan], str],
    listen: str,
) -> str:
    """The distributor.toml of an estate; `datasets` are dataset → table."""
    text = json.dumps
    lines = [
        "[master]",
        f"url = {text(master)}",
        f"quiet_period = {text(quiet_period)}",
        *(_dataset(name, table, references.get(name, {})) for name, table in datasets.items()),
        f"[ledger]\nurl = {text(ledger)}",
        f"[broker]\nurl = {text(broker)}",
        '[store]\npath = "store"',
        f"[web]\nlisten = {text(listen)}",
    ]
    for plan in environments:
        lines += [
            f"[environments.{plan.name}]",
            f'follow = "{plan.follow}"',
            f'keep_previous = "{plan.keep_previous}"',
            f'flip_lead = "{plan.flip_lead}"',
            *(f'{name} = "{value}"' for name, value in plan.more.items()),
            f"triggers = [{', '.join(plan.triggers)}]",
        ]
        for system in plan.systems:
            lines += [
                f"[environments.{plan.name}.systems.{system.name}]",
                f'adapter = "{system.adapter}"',
                f"url = {text(member_url(plan, system))}",
                f"required = {text(system.required)}",
            ]
            if system.options:
                lines.append(f"options = {{{system.options.format(environment=plan.name)}}}")
    for system in {system.name: system for plan in environments for system in plan.systems}.values():
        lines.append(system.mapping)
        for dataset, table in system.tables.items():
            lines += [f"[[systems.{system.name}.tables]]", f'dataset = "{dataset}"', f'into = "{table}"']
    return "\n".join(lines) + "\n"


def _dataset(name: str, table: str, references: Mapping[str, str]) -> str:
    named = ", ".join(f'{column} = "{target}"' for column, target in references.items())
    return f'[master.datasets.{name}]\ntable = "public.{table}"\nreferences = {{{named}}}'
