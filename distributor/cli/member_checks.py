"""What `check` asks of each system: does its mapping fit, is its adapter there, does its store answer, and is it as its
consumer made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from distributor.cli import store_looks
from distributor.cli.desk import without_password
from distributor.cli.finding import Findings
from distributor.cli.mapping_checks import check_mapping, note_decimals_as_text
from distributor.errors import ConfigError
from distributor.settings import MemberSettings, Settings

if TYPE_CHECKING:
    from distributor.mapping.compiled import Compiled
    from distributor.mapping.tables import TableMapping
    from distributor.model.dataset import DatasetSchema


@runtime_checkable
class _Inspects(Protocol):
    """An adapter, found by its entry point, that can tell whether what it made still is as it made it."""

    def prepared(self) -> bool: ...

    def inspect(self, tables: Sequence[tuple[TableMapping, DatasetSchema]]) -> Sequence[str]: ...

    def close(self) -> None: ...


def check_member(
    settings: Settings,
    environment: str,
    system: str,
    shapes: Mapping[str, DatasetSchema],
    coming: Mapping[str, DatasetSchema],
    findings: Findings,
) -> None:
    """Adds what was found about one member. `shapes` are the newest release's, `coming` those of the next one.

    Raises DistributorError for what makes it unusable.
    """
    part = f"{environment}.{system}"
    member = settings.environments[environment].systems[system]
    known = {found.name: found for found in entry_points(group="distributor.adapters")}
    if member.adapter not in known:
        raise ConfigError(f"there is no adapter {member.adapter!r}", mend=f"Known: {', '.join(sorted(known))}.")
    now, future = check_mapping(part, settings.mapping(system), shapes, coming, findings)
    if member.adapter == "sqlite":
        note_decimals_as_text(part, future, findings)
    _check_store(settings, environment, system, now, known[member.adapter], findings)


def _check_store(
    settings: Settings,
    environment: str,
    system: str,
    tables: Sequence[Compiled],
    adapter: EntryPoint,
    findings: Findings,
) -> None:
    part = f"{environment}.{system}"
    member = settings.environments[environment].systems[system]
    names = [table.into for table in settings.mapping(system).tables]
    made = _loaded(adapter)(member, settings.directory)
    seen = store_looks.look(settings, member, names)
    if seen.in_the_way:
        findings.problem(
            part,
            f"tables of its own are in the way: {', '.join(sorted(seen.in_the_way))}",
            "Readers will find views of those names: rename the tables, or map to other names (`into`).",
        )
        return
    if seen.gone:
        findings.problem(
            part,
            f"views that readers look at are gone: {', '.join(sorted(seen.gone))}",
            "Its consumer makes them again when it starts, or stages; grants have to be given again.",
        )
        return
    where = f"{member.adapter} at {without_password(member.url)}"
    if not isinstance(made, _Inspects):
        findings.note(part, f"the adapter {member.adapter} cannot be asked without a consumer, which will tell")
        return
    try:
        if not made.prepared():
            findings.ok(part, f"{where} can be had; its consumer will prepare it; readers will find {', '.join(names)}")
            return
        altered = made.inspect([(table.mapping, table.schema) for table in tables])
    finally:
        made.close()
    for sentence in altered:
        findings.problem(part, sentence, f"Until then `distributor verify {environment}` says the same.")
    if not altered:
        findings.ok(part, f"{where} answers; readers find {', '.join(names)}")


def _loaded(adapter: EntryPoint) -> Callable[[MemberSettings, Path], object]:
    """What makes the adapter. Raises ConfigError when its driver is not installed."""
    try:
        found: Callable[[MemberSettings, Path], object] = adapter.load()
    except ImportError as error:
        owner = adapter.dist
        extras = owner.metadata.get_all("Provides-Extra", []) if owner else []
        wanted = f"'{owner.name}[{adapter.name}]'" if owner and adapter.name in extras else error.name or adapter.value
        raise ConfigError(
            f"the driver of {adapter.name} is not installed: {error}", mend=f"Run `pip install {wanted}`."
        ) from error
    return found
