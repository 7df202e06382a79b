"""What the config file may say. Descriptions become the comments that `init` writes, and the published schema."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distributor.errors import ConfigError
from distributor.mapping.expressions import quoted
from distributor.mapping.tables import ColumnMapping, SystemMapping, TableMapping
from distributor.masking.policy import Policy
from distributor.model.dataset import TypeText
from distributor.rollout.state import Requirement, Timing
from distributor.settings.desk import Approvals, MaskingPolicy, Trigger, WebSettings, Window
from distributor.settings.durations import Duration
from distributor.settings.rules import QuarantineSettings, Rule, problems
from distributor.settings.section import Section

NAME = r"^[a-z][a-z0-9_-]{0,39}$"


Name = Annotated[str, Field(pattern=NAME)]


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


class MemberSettings(Section):
    """A system inside an environment."""

    adapter: str = Field(description="what knows its store: postgresql, mariadb, sqlite, parquet, redis, files")
    url: str = Field(
        description="the system's store: postgresql://… and mariadb://user:password@host:port/database,"
        " sqlite:///path/to/file.db, parquet:///path/to/directory, files:///path/to/directory, redis://host:port/0"
    )
    required: bool = Field(default=True, description="false: it may lag, and nobody waits for it")
    schema_: str = Field(
        default="public", alias="schema", description="PostgreSQL: the schema in which readers find the tables"
    )
    options: dict[str, str | int | bool] = Field(
        default_factory=dict, description="what only this adapter knows; its page in docs/adapters has the list"
    )
    state: Path | None = Field(
        default=None, description="the consumer's own directory; default: .distributor/consumers/ENV.SYSTEM"
    )


class EnvironmentSettings(Section):
    """A set of members that go online together."""

    follow: Literal["auto", "manual"] = Field(
        default="manual", description="auto: every new release is rolled out; manual: on deploy or refresh only"
    )
    stage_deadline: Duration = Field(
        default=timedelta(minutes=30), description="not converged by then: abandoned, nothing flipped"
    )
    flip_deadline: Duration = Field(
        default=timedelta(seconds=30), description="not all flipped by then: all are flipped back"
    )
    flip_lead: Duration = Field(
        default=timedelta(milliseconds=30), description="the decision to flip is this long before the flip"
    )
    keep_previous: Duration = Field(
        default=timedelta(hours=1), description="the previous release stays in the other slot this long"
    )
    resend_after: Duration = Field(
        default=timedelta(seconds=5), description="a command without an answer is sent again after this long"
    )
    heard_within: Duration = Field(
        default=timedelta(seconds=15), description="no decision while a required member was not heard for this long"
    )
    audit: Literal["always", "sampled", "never"] = Field(
        default="sampled",
        description="audit of what a load builds on. always: all of it, before each load; sampled: some buckets after"
        " each flip, all of them over time; never: only when `verify` asks",
    )
    masking: Name | None = Field(
        default=None, description="the policy of [masking.NAME] under which it sees the data; none: in clear"
    )
    approvals: Approvals | None = Field(
        default=None, description="{needed = 1}: so many others must agree before it changes over; none: nobody"
    )
    windows: tuple[Window, ...] = Field(default=(), description="when it may change over; none: always")
    triggers: tuple[Trigger, ...] = Field(
        default=(), description='what starts a rollout by itself; follow = "auto" alone takes every release at once'
    )
    systems: dict[Name, MemberSettings] = Field(description="the members, by system", min_length=1)

    @model_validator(mode="after")
    def _names_are_unlike(self) -> EnvironmentSettings:
        names = [trigger.name for trigger in self.triggers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two triggers are called {twice[0]!r}")
        if "follow" in names:
            raise ValueError('no trigger is called "follow": that is what follow = "auto" does by itself')
        on_change = [trigger.name for trigger in self.triggers if trigger.on == "change"]
        if on_change and self.follow != "auto":
            raise ValueError(f'the trigger {on_change[0]!r} is on change: that says when to follow, so follow = "auto"')
        return self

    @property
    def timing(self) -> Timing:
        """The durations as the rule-book takes them."""
        return Timing(
            stage_deadline=self.stage_deadline,
            flip_deadline=self.flip_deadline,
            flip_lead=self.flip_lead,
            keep_previous=self.keep_previous,
            resend_after=self.resend_after,
            heard_within=self.heard_within,
        )

    @property
    def requirements(self) -> dict[str, Requirement]:
        """System → required or optional, as configured."""
        return {
            name: Requirement.REQUIRED if member.required else Requirement.OPTIONAL
            for name, member in self.systems.items()
        }


class ColumnSettings(Section):
    """A column that is computed."""

    expr: str = Field(description="SQL over the dataset's columns; docs/mappings.md has the functions")
    type: TypeText | None = Field(
        default=None, description='what it gives: "text", "text(40)", "integer", "decimal(12,2)", "date", …'
    )


class TableSettings(Section):
    """One table of a system."""

    dataset: Name = Field(description="the dataset that it shows")
    into: str | None = Field(default=None, description="the name under which readers find it; default: the dataset's")
    where: str = Field(default="", description="SQL that says which rows it has; none: all")
    columns: Literal["*"] | tuple[str, ...] | dict[str, str | ColumnSettings] = Field(
        default="*",
        description='"*": every column; ["id", "name"]: these; a table: its column = "expression" or {expr, type},'
        ' where "*" = "*" stands for all that no other entry names',
    )

    def mapping(self, references: dict[str, str]) -> TableMapping:
        """As the mapping has it. `references` are the dataset's."""
        columns: tuple[ColumnMapping, ...] = ()
        if isinstance(self.columns, dict):
            columns = tuple(
                ColumnMapping(name=name, expr=entry)
                if isinstance(entry, str)
                else ColumnMapping(name=name, expr=entry.expr, type=entry.type)
                for name, entry in self.columns.items()
            )
        elif self.columns != "*":
            columns = tuple(ColumnMapping(name=name, expr=quoted(name)) for name in self.columns)
        table = TableMapping(
            dataset=self.dataset,
            into=self.into or self.dataset,
            where=self.where,
            columns=columns,
            references=tuple(references.items()),
        )
        return table if table.foreign else table.model_copy(update={"references": ()})


class SystemSettings(Section):
    """A system's tables, the same in every environment."""

    tables: tuple[TableSettings, ...] = Field(default=(), description="none: every dataset under its own name")


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
