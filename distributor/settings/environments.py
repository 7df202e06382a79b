"""What the config says of environments and their members."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from distributor.rollout.state import Requirement, Timing
from distributor.settings.desk import Approvals, Trigger, Window
from distributor.settings.durations import Duration
from distributor.settings.section import Name, Section


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
