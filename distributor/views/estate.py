"""What the config says of environments and systems, without the addresses and passwords of anything."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from distributor.mapping.tables import TableMapping
from distributor.views.base import View

if TYPE_CHECKING:
    from distributor.settings import Settings


class MemberLine(View):
    """A system as a member of an environment."""

    system: str
    """The system."""
    adapter: str
    """The kind of its store."""
    required: bool
    """Whether rollouts wait for it."""


class StartedBy(View):
    """What starts a rollout to the newest release."""

    name: str
    """How the audit and the API name it."""
    on: str
    """`change`, `schedule` or `message`."""


class EnvironmentLine(View):
    """An environment as the config has it."""

    environment: str
    """Its name."""
    follow: str
    """`auto`: new releases are rolled out by themselves; `manual`: when somebody asks."""
    masking: str | None
    """The policy under which it sees the data; null: in clear."""
    approvals_needed: int
    """How many others must approve a rollout; 0: nobody."""
    approvals_of: tuple[str, ...]
    """Which requests need that."""
    windows: tuple[str, ...]
    """When it may change over: cron, how long and the time zone; empty: always."""
    triggers: tuple[StartedBy, ...]
    """What starts a rollout by itself."""
    systems: tuple[MemberLine, ...]
    """Its members."""


class Environments(View):
    """The environments of the config."""

    environments: tuple[EnvironmentLine, ...]
    """In the config's order."""


class SystemTable(View):
    """A table of a system."""

    table: str
    """The table, as the system calls it."""
    dataset: str
    """The dataset that it shows."""
    columns: tuple[str, ...]
    """Its columns; empty: those of the dataset."""
    where: str
    """Which rows it has; empty: all."""


class SystemLine(View):
    """A system as the config has it."""

    system: str
    """Its name."""
    environments: tuple[str, ...]
    """Where it is a member."""
    mapping: str
    """The version of its mapping: another one has the system loaded anew."""
    tables: tuple[SystemTable, ...]
    """Its tables."""


class Systems(View):
    """The systems of the config."""

    systems: tuple[SystemLine, ...]
    """The systems, by name."""


def environments(settings: Settings, names: Collection[str]) -> Environments:
    """These environments."""
    return Environments(environments=tuple(_environment(settings, name) for name in names))


def systems(settings: Settings, names: Collection[str]) -> Systems:
    """The systems that are members of these environments."""
    members: dict[str, list[str]] = {}
    for name in names:
        for system in settings.environments[name].systems:
            members.setdefault(system, []).append(name)
    return Systems(systems=tuple(_system(settings, system, tuple(members[system])) for system in sorted(members)))


def _environment(settings: Settings, name: str) -> EnvironmentLine:
    config = settings.environments[name]
    approvals = config.approvals
    return EnvironmentLine(
        environment=name,
        follow=config.follow,
        masking=config.masking,
        approvals_needed=approvals.needed if approvals else 0,
        approvals_of=approvals.of if approvals and approvals.needed else (),
        windows=tuple(
            f"{window.cron} for {window.lasts.total_seconds():g} s, {window.timezone}" for window in config.windows
        ),
        triggers=tuple(StartedBy(name=trigger.name, on=trigger.on) for trigger in config.triggers),
        systems=tuple(
            MemberLine(system=system, adapter=member.adapter, required=member.required)
            for system, member in config.systems.items()
        ),
    )


def _system(settings: Settings, system: str, names: tuple[str, ...]) -> SystemLine:
    mapping = settings.mapping(system)
    return SystemLine(
        system=system, environments=names, mapping=mapping.version, tables=tuple(map(_table, mapping.tables))
    )


def _table(table: TableMapping) -> SystemTable:
    return SystemTable(
        table=table.into,
        dataset=table.dataset,
        columns=tuple(column.name for column in table.columns or ()),
        where=table.where or "",
    )
