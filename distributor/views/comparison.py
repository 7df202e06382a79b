"""Two environments side by side: the releases that they show, the rows that differ, and their systems."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from distributor.errors import UsageError
from distributor.mapping.tables import TableMapping, is_joined
from distributor.views.base import View
from distributor.views.members import MemberStatus
from distributor.views.places import Place, places
from distributor.views.plan import PlannedRow, planned_row
from distributor.views.status import look

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.model.dataset import DatasetSchema
    from distributor.requests.expectations import Content
    from distributor.settings import Settings
    from distributor.store.base import Store
    from distributor.views.environments import EnvironmentStatus


class ComparedDataset(View):
    """How the rows of a dataset differ: what would happen to those of the first environment to become the second's."""

    dataset: str
    """The dataset."""
    rows_in: int
    """Rows that only the second has; with `anew` all that it has."""
    rows_updated: int
    """Rows of both that differ."""
    rows_out: int
    """Rows that only the first has; with `anew` nobody counts them."""
    anew: str
    """Why its rows cannot be compared one by one, such as another shape; empty when they are."""
    sample: tuple[PlannedRow, ...]
    """The first rows that differ, at most `--limit`; none with `anew`."""


class ComparedSystem(View):
    """A system as each of the two environments has it."""

    system: str
    """The system."""
    first: MemberStatus | None
    """How it stands in the first environment; null when it is no member there."""
    second: MemberStatus | None
    """The same in the second."""


class ComparedEnvironment(View):
    """One of the two environments."""

    environment: str
    """Its name."""
    release: int
    """The release that it shows; 0 is empty."""
    published_at: datetime | None
    """When that was published, in UTC; null for release 0."""
    variant: bool
    """Whether it shows that release without some rows that a system cannot take."""
    held_back: int
    """How many rows those are."""
    masked: str | None
    """The masking policy under which it sees the rows; null when it does in clear."""
    state: str
    """The state of the rollout that goes on, or `idle`."""


class Comparison(View):
    """Two environments side by side."""

    first: ComparedEnvironment
    """The one that was named first."""
    second: ComparedEnvironment
    """The other one."""
    incomparable: str
    """Why their rows cannot be compared, because they are masked otherwise; empty when they are. Then no dataset is
    told."""
    same: bool
    """Whether both show the very same rows."""
    datasets: tuple[ComparedDataset, ...]
    """The datasets, whether they differ or not."""
    systems: tuple[ComparedSystem, ...]
    """The systems of either, by name."""


def comparison(
    conn: Connection, settings: Settings, store: Store, first: str, second: str, *, limit: int = 5
) -> Comparison:
    """How two environments differ; `limit` rows of each dataset are shown, field by field.

    The cost is that of composing the changesets between what both show, like a plan's. Raises UsageError for an
    unknown environment, or when both are the same one; StoreError.
    """
    if first == second:
        raise UsageError(f"{first} is one environment, not two", where="usage", mend="Name another one beside it.")
    for name in (first, second):
        settings.environment(name)
    standing = look(conn, settings, [first, second]).environments
    one, other = places(conn, settings, store, [first, second])
    contents = _content(one), _content(other)
    why = _unlike(one, other)
    schemas = () if why else _schemas(*contents)
    datasets = tuple(_dataset(one.store, schema, contents[0], contents[1], limit) for schema in schemas)
    return Comparison(
        first=_environment(standing[0], one, contents[0]),
        second=_environment(standing[1], other, contents[1]),
        incomparable=why,
        same=not why and not any(part.rows_in or part.rows_updated or part.rows_out or part.anew for part in datasets),
        datasets=datasets,
        systems=_systems(*standing),
    )


def _content(place: Place) -> Content:
    from distributor.requests.expectations import Content

    return Content.read(place.store, place.shown.sha256 if place.shown else None)


def _unlike(one: Place, other: Place) -> str:
    """Why rows of the two cannot be laid side by side."""
    for place in (one, other):
        if place.shown is None:
            return f"{place.state.name} shows what it took under another masking policy than the config has now"
    policies = [place.policy for place in (one, other)]
    if policies[0] == policies[1]:
        return ""
    seen = [f"masked by {policy.name}" if policy else "in clear" for policy in policies]
    return f"{one.state.name} sees the rows {seen[0]}, {other.state.name} {seen[1]}"


def _environment(standing: EnvironmentStatus, place: Place, content: Content) -> ComparedEnvironment:
    manifest = content.manifest
    return ComparedEnvironment(
        environment=standing.environment,
        release=standing.release,
        published_at=manifest.created_at if manifest else None,
        variant=bool(manifest and manifest.is_variant),
        masked=place.policy.name if place.policy else None,
        held_back=standing.held_back,
        state=standing.state,
    )


def _schemas(one: Content, other: Content) -> tuple[DatasetSchema, ...]:
    """The datasets of either, in the shape of the second where it has them."""
    found = {
        schema.dataset: schema
        for content in (one, other)
        if content.manifest
        for schema in content.manifest.schemas
        if not is_joined(schema.dataset)
    }
    return tuple(found[name] for name in sorted(found))


def _dataset(store: Store, schema: DatasetSchema, one: Content, other: Content, limit: int) -> ComparedDataset:
    from distributor.mapping.compiled import compile_table
    from distributor.requests.netting import Counted, net

    # The same content has no difference, whatever chain there is or is not.
    counted = Counted()
    if one.sha256 != other.sha256:
        plain = compile_table("", TableMapping(dataset=schema.dataset, into=schema.dataset), schema)
        counted = net(store, plain, one, other, limit)
    return ComparedDataset(
        dataset=schema.dataset,
        rows_in=counted.inserted,
        rows_updated=counted.updated,
        rows_out=counted.deleted,
        anew=counted.anew,
        sample=tuple(planned_row(schema.key, schema.column_names, row) for row in counted.sample),
    )


def _systems(first: EnvironmentStatus, second: EnvironmentStatus) -> tuple[ComparedSystem, ...]:
    sides = [{member.system: member for member in standing.members} for standing in (first, second)]
    return tuple(
        ComparedSystem(
            system=system,
            first=sides[0].get(system),
            second=sides[1].get(system),
        )
        for system in sorted(sides[0].keys() | sides[1].keys())
    )
