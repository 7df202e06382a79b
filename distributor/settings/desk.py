"""What an environment's desk is told: who approves, when it may change over, what starts a rollout, what is masked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import Field, model_validator

from distributor.masking.policy import Method, Policy
from distributor.settings.durations import Duration
from distributor.settings.section import Section
from distributor.telemetry.clock import now

RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Asked = Literal["deploy", "refresh", "rollback", "promote", "auto", "trigger", "repair"]
Masked = Literal["token", "digits", "fixed", "null"]
_LONGEST_WINDOW = timedelta(days=7)


class WebSettings(Section):
    """The HTTP API and the pages: the role `web`."""

    listen: str = Field(
        default="127.0.0.1:8080",
        pattern=r"^\S+:\d{1,5}$",
        description="address and port; put a proxy that speaks TLS before anything but loopback",
    )
    session: Duration = Field(default=timedelta(hours=12), description="a login lasts this long")


class Approvals(Section):
    """Four eyes: nothing flips before others than the requester have approved it."""

    needed: int = Field(default=1, ge=0, le=9, description="how many approve; the requester never counts")
    of: tuple[Asked, ...] = Field(
        default=("deploy", "refresh", "promote", "auto", "trigger"),
        description="which requests need it; a rollback goes without by default",
    )


def _check_cron(cron: str, timezone: str) -> None:
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f'there is no time zone {timezone!r}; it is a name like "Europe/Vienna"') from error
    if len(cron.split()) != 5:
        raise ValueError(f"{cron!r} has not the five fields of cron: minute, hour, day, month, weekday")
    try:
        next(CronSim(cron, now().astimezone(zone)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"{cron!r} is no cron expression that ever comes: {error}") from error


class Window(Section):
    """When the environment may change over; with windows, it flips in one of them only."""

    cron: str = Field(description='when it opens: minute, hour, day, month, weekday, as in "0 22 * * mon-fri"')
    lasts: Duration = Field(description="how long it stays open")
    timezone: str = Field(default="UTC", description='the time zone of cron, like "Europe/Vienna"')

    @model_validator(mode="after")
    def _is_one(self) -> Window:
        _check_cron(self.cron, self.timezone)
        if not timedelta(minutes=1) <= self.lasts <= _LONGEST_WINDOW:
            raise ValueError("a window lasts between a minute and 7 days")
        return self


class Trigger(Section):
    """What starts a rollout to the newest release without anybody asking."""

    name: RuleName = Field(description="how the audit and the API name it")
    on: Literal["change", "schedule", "message"] = Field(
        description="change: a new release; schedule: a time; message: an event on the broker, or a call of the API"
    )
    quiet_period: Duration | None = Field(
        default=None, description="change: when no release was made for this long; with none of the three: at once"
    )
    max_delay: Duration | None = Field(
        default=None, description="change: at the latest this long after the first release that is not shown"
    )
    max_rows: int | None = Field(
        default=None, ge=1, description="change: at once when the releases that are not shown have this many rows"
    )
    cron: str | None = Field(default=None, description='schedule: minute, hour, day, month, weekday: "0 6 * * mon"')
    timezone: str = Field(default="UTC", description='schedule: the time zone of cron, like "Europe/Vienna"')

    @model_validator(mode="after")
    def _is_one(self) -> Trigger:
        if self.on == "schedule":
            if self.cron is None:
                raise ValueError(f"the trigger {self.name!r} is on a schedule and needs `cron`")
            _check_cron(self.cron, self.timezone)
        elif self.cron is not None:
            raise ValueError(f"the trigger {self.name!r} has `cron`, and is on {self.on}, not on a schedule")
        waits = {"quiet_period": self.quiet_period, "max_delay": self.max_delay, "max_rows": self.max_rows}
        if self.on != "change" and (given := [name for name, value in waits.items() if value is not None]):
            raise ValueError(f"the trigger {self.name!r} is on {self.on}: {', '.join(given)} belongs to on = 'change'")
        return self


class MaskingPolicy(Section):
    """What an environment must not see in clear; every environment of one policy sees the same."""

    secret: str = Field(
        min_length=16,
        repr=False,
        description="the key of the tokens: 16 characters or more, and nobody's but the publisher's",
    )
    columns: dict[RuleName, dict[str, Masked]] = Field(
        description="dataset → column → token: the same word for the same value, so that joins survive; digits: other"
        " digits in the same places; fixed: one text for all; null: nothing",
        min_length=1,
    )

    def named(self, name: str) -> Policy:
        """As masking has it, under its name in the config."""
        columns = {
            dataset: {column: Method(how) for column, how in masked.items()} for dataset, masked in self.columns.items()
        }
        return Policy(name, self.secret, columns)
