"""One product: what it is now, what every environment and system shows of it, and which releases changed it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distributor.errors import RefusedError, UsageError
from distributor.mapping.tables import is_joined, joined, unjoined
from distributor.model.manifest import ZERO
from distributor.views.base import View
from distributor.views.places import Place, places
from distributor.views.product_history import ProductChange, history
from distributor.views.product_places import Placing, ProductInEnvironment, plain_row
from distributor.views.wording import count

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from distributor.ledger.releases import ReleaseRecord
    from distributor.model.dataset import DatasetSchema
    from distributor.settings import Settings
    from distributor.store.base import Store
    from distributor.views.lookback import Row


class ProductRow(View):
    """The product's row in one dataset."""

    dataset: str
    """The dataset."""
    key: dict[str, str]
    """Its key: column → canonical text."""
    row: dict[str, str | None] | None
    """The row in the newest release: column → canonical text; null when it is not there."""
    environments: tuple[ProductInEnvironment, ...]
    """The row in every environment."""
    history: tuple[ProductChange, ...]
    """The releases that changed it, newest first, at most `--limit` of those that were looked through."""
    looked_back_to: int
    """The oldest release that was looked through."""
    stopped: str
    """Why no older one was: `--limit` changes were found, 500 releases or 256 MB of changes of the dataset were looked
    through, or older releases are gone. Empty when the history is whole."""


class Product(View):
    """One product, in every dataset that has a row of its key."""

    release: int
    """The newest release."""
    rows: tuple[ProductRow, ...]
    """Its rows: one for each dataset that has one, or in which one was found looking back."""


def product(
    conn: Connection,
    settings: Settings,
    store: Store,
    key: Sequence[str],
    dataset: str | None = None,
    *,
    limit: int = 20,
    environments: Collection[str] | None = None,
) -> Product:
    """One product by its key: one canonical text for each column. `limit`: how many changes of each row are told;
    `environments`: only what these show (None: all). The newest row and its history are told in clear.

    Reading is bounded by `lookback.Budget`, for each dataset. Raises RefusedError when there is no release yet,
    UsageError for a dataset or a key that there cannot be, and when no row was found; StoreError.
    """
    from distributor.store.chain import Manifests, Position
    from distributor.upkeep.collected import oldest
    from distributor.views.lookback import Budget, Lookback

    newest = _newest(conn, settings, store, key, dataset)
    names = [name for name in sorted(settings.environments) if environments is None or name in environments]
    everywhere = places(conn, settings, store, names)
    clear = [place for place in everywhere if place.policy is None]
    least = min((at.release for place in clear for at in place.positions.values() if at and at.sha256), default=0)
    manifests, start = Manifests(store), Position(newest.head.number, newest.head.manifest)
    rows = []
    for schema in newest.fitting:
        looked = {}
        for name in (schema.dataset, joined(schema.dataset)):
            if name in newest.rows:
                budget = Budget(oldest=oldest(conn, store) or ZERO)
                named = dict(zip(schema.key, key, strict=True))
                looked[name] = Lookback(manifests, name, named, budget, start, newest.rows[name])
                looked[name].back(0 if is_joined(name) else limit, least or newest.head.number)
        placing = Placing(conn, settings, schema.dataset, newest.shapes, looked)
        row = _row(conn, placing, everywhere, limit)
        if row.row or row.history or any(place.row for place in row.environments):
            rows.append(row)
    if not rows:
        raise UsageError(f"no row of the key {', '.join(key)} was found", where="ledger", mend=_keys(newest.fitting))
    return Product(release=newest.head.number, rows=tuple(rows))


def _row(conn: Connection, placing: Placing, everywhere: Sequence[Place], limit: int) -> ProductRow:
    lookback = placing.lookbacks[placing.dataset]
    told, more = history(conn, lookback, {place.state.name: placing.lookback(place) for place in everywhere}, limit)
    found = "1 change was" if limit == 1 else f"{limit:,} changes were"
    enough = f"{found} found" if more or not lookback.whole else ""
    return ProductRow(
        dataset=placing.dataset,
        key=dict(lookback.key),
        row=plain_row(lookback.present),
        environments=placing.environments(everywhere),
        history=told,
        looked_back_to=lookback.reached,
        stopped=lookback.stopped or enough,
    )


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest release, the shapes of all datasets in it, those that can have the key, and their rows by dataset,
    plain and joined."""

    head: ReleaseRecord
    shapes: dict[str, DatasetSchema]
    fitting: list[DatasetSchema]
    rows: dict[str, Row | None]


def _newest(conn: Connection, settings: Settings, store: Store, key: Sequence[str], dataset: str | None) -> Newest:
    """Raises RefusedError and UsageError as `product`."""
    from distributor.ledger import releases
    from distributor.store.chunks import read_manifest

    while True:
        head = releases.head(conn)
        if head is None:
            raise RefusedError("there is no release yet", where="ledger", mend="Run `distributor publish` first.")
        known = [one for one in read_manifest(store, head.manifest).schemas if _configured(settings, one.dataset)]
        schemas = _fitting([one for one in known if not is_joined(one.dataset)], key, dataset)
        names = {one.dataset for one in schemas}
        rows = {one.dataset: _released(conn, one, key) for one in known if unjoined(one.dataset) in names}
        # The image is the newest release's: between the statements, another one may have become that.
        if releases.head(conn) == head:
            return Newest(head, {one.dataset: one for one in known}, schemas, rows)


def _configured(settings: Settings, dataset: str) -> bool:
    return unjoined(dataset) in settings.master.datasets


def _fitting(known: Sequence[DatasetSchema], key: Sequence[str], dataset: str | None) -> list[DatasetSchema]:
    """Those that the key can be of. Raises UsageError when there is none."""
    chosen = [schema for schema in known if dataset in (None, schema.dataset)]
    if not chosen:
        names = ", ".join(schema.dataset for schema in known)
        raise UsageError(f"there is no dataset {dataset!r}", where="--dataset", mend=f"Known: {names}.")
    fitting = [schema for schema in chosen if len(schema.key) == len(key)]
    if not fitting:
        raise UsageError(f"no key has {count(len(key), 'column')}", where="KEY", mend=_keys(chosen))
    return fitting


def _keys(schemas: Sequence[DatasetSchema]) -> str:
    told = (f"{schema.dataset}: {', '.join(schema.key)}" for schema in schemas)
    return f"Keys are {'; '.join(told)}."


def _released(conn: Connection, schema: DatasetSchema, key: Sequence[str]) -> Row | None:
    """The row in the released image."""
    import sqlalchemy as sa

    from distributor.publishing.image import SCHEMA

    image = sa.table(schema.dataset, *map(sa.column, schema.column_names), schema=SCHEMA)
    wanted = [image.c[name] == value for name, value in zip(schema.key, key, strict=True)]
    row = conn.execute(sa.select(image).where(*wanted)).one_or_none()
    return dict(zip(schema.column_names, row, strict=True)) if row else None
