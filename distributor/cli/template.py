"""The config file that `init` writes: every key with its description, around a worked example.

Made from the settings models, so that a key cannot be forgotten or described twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from distributor.settings.desk import WebSettings
from distributor.settings.environments import EnvironmentSettings, MemberSettings
from distributor.settings.models import Broker, Dataset, Ledger, Master, StoreSettings, Telemetry
from distributor.settings.systems import TableSettings

PASSWORD = "password"  # noqa: S105 - a place to fill in
_INTRODUCTION = """\
# Distributor: which tables are distributed, and to which systems.
#
# A line that begins with "# key = value" shows a default. ${env:NAME} stands for an environment variable: keep
# passwords there. Relative paths start where this file lies. `distributor check` says what is still missing.
"""


@dataclass(frozen=True, slots=True)
class Places:
    """What the example is filled in with."""

    master: str = f"postgresql://distributor:{PASSWORD}@localhost:5432/master"
    ledger: str = f"postgresql://distributor:{PASSWORD}@localhost:5432/ledger"
    broker: str = f"amqp://distributor:{PASSWORD}@localhost:5672/"
    store: str = "store"


def worked_example(places: Places) -> str:
    """The text of a distributor.toml with one dataset and two environments of two systems."""
    crm = f"postgresql://crm:{PASSWORD}@localhost:5432/crm"
    sections = (
        _section("master", Master, {"url": places.master}),
        _section("master.datasets.products", Dataset, {"table": "public.products"}),
        _section("ledger", Ledger, {"url": places.ledger}),
        _section("broker", Broker, {"url": places.broker}),
        _section("store", StoreSettings, {"path": places.store}),
        _section("web", WebSettings, {}),
        _section("environments.uat", EnvironmentSettings, {}),
        _section("environments.uat.systems.crm", MemberSettings, {"adapter": "postgresql", "url": crm}),
        _section("environments.uat.systems.pos", MemberSettings, {"adapter": "sqlite", "url": "sqlite:///pos.db"}),
        _another_environment(),
        "# What a system holds, the same in every environment. A system without such a section holds every dataset.\n"
        + _section("[systems.pos.tables]", TableSettings, {"dataset": "products"}),
        _section("telemetry", Telemetry, {}),
    )
    return "\n".join((_INTRODUCTION, *sections))


def _another_environment() -> str:
    """The same systems once more, in an environment that nobody has to deploy to."""
    crm = f"postgresql://crm:{PASSWORD}@localhost:5432/crm_prod"
    lines = [
        "# A second environment, with stores of its own: here every release goes online by itself. Leave it out if you",
        "# have one environment.",
        "[environments.prod]",
        'follow = "auto"',
    ]
    for system, adapter, url in (("crm", "postgresql", crm), ("pos", "sqlite", "sqlite:///pos_prod.db")):
        lines += [f"[environments.prod.systems.{system}]", f"adapter = {_toml(adapter)}", f"url = {_toml(url)}"]
    return "\n".join(lines) + "\n"


def _section(header: str, model: type[BaseModel], given: Mapping[str, str]) -> str:
    about = (model.__doc__ or "").strip().splitlines()[0]
    return "\n".join([f"# {about}", f"[{header}]", *_keys(model, given)]) + "\n"


def _keys(model: type[BaseModel], given: Mapping[str, str]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in given:
            yield f"# {field.description}"
            yield f"{key} = {_toml(given[key])}"
        elif field.default_factory is not None or field.default is not PydanticUndefined:
            default = field.get_default(call_default_factory=True)
            yield f"# {field.description}"
            yield f"# {key} = {_toml(default)}" if default is not None else f"# {key} = …"


def _toml(value: object) -> str:
    if isinstance(value, timedelta):
        return _toml(_duration(value))
    if isinstance(value, Path):
        return _toml(str(value))
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _duration(value: timedelta) -> str:
    milliseconds = round(value.total_seconds() * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0 and milliseconds:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"
