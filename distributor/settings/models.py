"""What the config file may say. Descriptions become the comments that `init` writes, and the published schema."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from distributor.errors import ConfigError
from distributor.mapping.tables import SystemMapping, TableMapping
from distributor.masking.policy import Policy
from distributor.settings.desk import MaskingPolicy, WebSettings
from distributor.settings.durations import Duration
from distributor.settings.environments import EnvironmentSettings
from distributor.settings.rules import QuarantineSettings, Rule, problems
from distributor.settings.section import Name, Section
from distributor.settings.systems import SystemSettings


class Dataset(Section):
    """One master table that is distributed."""

    table: str = Field(description='the master\'s table, "schema.table"; the schema may be left out')
    key: tuple[str, ...] = Field(default=(), description="key columns; empty: the table's primary key")
    references: dict[str, str] = Field(
        default_factory=dict,
        description='columns that name a row of another dataset: {column = "dataset"}; mappings join along them, and'
        " what is held back takes the rows with it that reference it",
    )
    drift: Literal["stop", "evolve", "ignore"] = Field(
        default="stop",
        description="when the table's columns change. stop: publish nothing, and say what changed; evolve: carry it to"
        " every system; ignore: leave new columns out, and stop at every other change",
    )
    capture: Literal["trigger", "scan"] = Field(
        default="trigger",
        description="trigger: triggers record what changes; scan: the whole table is compared, for views and foreign"
        " tables, and where no trigger may be",
    )
    scan_every: Duration | None = Field(
        default=None,
        description="how often a publisher compares the whole table; none: every minute (every max_delay, if that is"
        " longer) where no trigger records changes, and never where one does",
    )
    rules: tuple[Rule, ...] = Field(
        default=(), description="what must be true before a release is made of it; docs/quality-rules.md"
    )

    @model_validator(mode="after")
    def _rules_meet(self) -> Dataset:
        for problem in problems(self.rules, self.references):
            raise ValueError(problem)
        return self


class Master(Section):
    """The database that owns the product data."""

    url: str = Field(description="postgresql://user:password@host:port/database")
    datasets: dict[Name, Dataset] = Field(description="the datasets, by name", min_length=1)
    quiet_period: Duration = Field(
        default=timedelta(seconds=1), description="publish when nothing has changed for this long"
    )
    max_delay: Duration = Field(
        default=timedelta(seconds=30), description="publish at the latest this long after the first change"
    )
    max_rows: int = Field(
        default=0, ge=0, description="publish at once when this many keys have changed; 0: never for that reason"
    )


class Ledger(Section):
    """Where releases, environments and rollouts are remembered."""

    url: str = Field(description="postgresql://user:password@host:port/database")


class Broker(Section):
    """RabbitMQ."""

    url: str = Field(description="amqp://user:password@host:port/vhost")


class StoreSettings(Section):
    """Where manifests and chunks lie."""

    path: Path = Field(description="a directory that the publisher and all consumers see")
    compact_after: int = Field(
        default=1000,
        ge=0,
        description="the publisher makes a base of the newest release when the last one is this many releases old; 0:"
        " never for that reason",
    )
    compact_growth: float = Field(
        default=1.0,
        ge=0,
        description="… or when the changes since then have this many times as many rows as it has; 0: never for that"
        " reason",
    )
    keep: Duration = Field(
        default=timedelta(days=30),
        description="how long one can go back: `gc` keeps what is younger, or was shown since",
    )
    grace: Duration = Field(
        default=timedelta(days=1),
        description="`gc` leaves alone what was written less long ago: longer than any publish or import takes",
    )


class Telemetry(Section):
    """Logs and traces."""

    log_format: Literal["auto", "json", "console"] = Field(default="auto", description="auto: console on a terminal")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least severe level")
    traces: Literal["off", "console"] = Field(default="off", description="where spans are exported")


class Settings(Section):
    """The whole file."""

    master: Master
    ledger: Ledger
    broker: Broker
    store: StoreSettings
    environments: dict[Name, EnvironmentSettings] = Field(default_factory=dict)
    systems: dict[Name, SystemSettings] = Field(default_factory=dict)
    quarantine: QuarantineSettings = Field(default_factory=QuarantineSettings)
    masking: dict[Name, MaskingPolicy] = Field(default_factory=dict)
    web: WebSettings = Field(default_factory=WebSettings)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    directory: Path = Field(default=Path(), exclude=True, description="set when read: where the file lies")

    @model_validator(mode="after")
    def _names_meet(self) -> Settings:
        for name, system in self.systems.items():
            for table in system.tables:
                if table.dataset not in self.master.datasets:
                    known = ", ".join(self.master.datasets)
                    raise ValueError(f"systems.{name}: there is no dataset {table.dataset!r}; there are {known}")
                try:
                    table.mapping(self.master.datasets[table.dataset].references)
                except ConfigError as error:
                    raise ValueError(f"systems.{name}: {error}") from error
        for name, dataset in self.master.datasets.items():
            for column, target in dataset.references.items():
                if target not in self.master.datasets:
                    raise ValueError(f"master.datasets.{name}.references.{column}: there is no dataset {target!r}")
        for name, environment in self.environments.items():
            if environment.masking is not None and environment.masking not in self.masking:
                known = ", ".join(self.masking) or "none"
                raise ValueError(f"environments.{name}.masking: no policy {environment.masking!r}; there are: {known}")
        for policy, masking in self.masking.items():
            for masked in masking.columns:
                if masked not in self.master.datasets:
                    known = ", ".join(self.master.datasets)
                    raise ValueError(f"masking.{policy}.columns: no dataset {masked!r}; there are {known}")
        return self

    def environment(self, name: str) -> EnvironmentSettings:
        """One environment. Raises UsageError that names the known ones."""
        from distributor.errors import UsageError

        if name not in self.environments:
            known = ", ".join(self.environments) or "none"
            raise UsageError(f"there is no environment {name!r}", where="config", mend=f"Known: {known}.")
        return self.environments[name]

    def masking_of(self, environment: str) -> Policy | None:
        """The policy under which an environment sees the rows; None: in clear. One that the config does not have (any
        more) sees what it has in clear, too."""
        found = self.environments.get(environment)
        return self.policy(found.masking) if found and found.masking else None

    def policy(self, name: str) -> Policy:
        """A masking policy of the config, by its name."""
        return self.masking[name].named(name)

    @property
    def policies_in_use(self) -> tuple[Policy, ...]:
        """Those under which some environment sees the rows, by name."""
        named = {environment.masking for environment in self.environments.values() if environment.masking}
        return tuple(self.policy(name) for name in sorted(named))

    @property
    def references(self) -> dict[str, dict[str, str]]:
        """Dataset → its referencing columns → the datasets whose rows they name."""
        return {name: dataset.references for name, dataset in self.master.datasets.items()}

    def mapping(self, system: str, environment: str | None = None) -> SystemMapping:
        """A system's mapping; without `[systems.NAME]`, every dataset under its own name. With an environment, of the
        rows as that one sees them."""
        policy = self.masking_of(environment) if environment else None
        return self._mapping(system).under(policy.version if policy else "")

    def _mapping(self, system: str) -> SystemMapping:
        settings = self.systems.get(system)
        tables = (
            [table.mapping(self.master.datasets[table.dataset].references) for table in settings.tables]
            if settings and settings.tables
            else [TableMapping(dataset=name, into=name) for name in self.master.datasets]
        )
        return SystemMapping(system=system, tables=tuple(tables))

    def state_directory(self, environment: str, system: str) -> Path:
        """Where a consumer keeps its inbox."""
        member = self.environments[environment].systems[system]
        return self.resolve(member.state or Path(".distributor") / "consumers" / f"{environment}.{system}")

    def resolve(self, path: Path) -> Path:
        """A path of the config file, relative to where the file lies."""
        return path if path.is_absolute() else self.directory / path
