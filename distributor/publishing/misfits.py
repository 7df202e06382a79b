"""Mappings that no longer fit what a table has become: the fault of the change, not of the config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from distributor.errors import ConfigError, SchemaError
from distributor.mapping.compiled import compile_table
from distributor.mapping.tables import SystemMapping
from distributor.model.dataset import DatasetSchema

Restarts = Mapping[str, tuple[str, ...]]


def refuse_misfits(mappings: Iterable[SystemMapping], schemas: Mapping[str, DatasetSchema], restarts: Restarts) -> None:
    """Before any row is read: mappings over datasets that change their shape. Raises SchemaError.

    Those that also read what is referenced are known later: see `blamed_on`.
    """
    with blamed_on(restarts):
        for mapping in mappings:
            for table in mapping.tables:
                if table.dataset in restarts and not table.foreign:
                    compile_table(mapping.system, table, schemas[table.dataset])


@contextmanager
def blamed_on(restarts: Restarts) -> Iterator[None]:
    """A mapping that fails because of these changes may be mended on the master while a publisher waits."""
    try:
        yield
    except ConfigError as error:
        if not restarts:
            raise
        changes = "; ".join(f"{dataset}: {', '.join(told)}" for dataset, told in restarts.items())
        raise SchemaError(
            f"{error.what}; the master's tables have changed ({changes})",
            where=error.where,
            mend="Change the mapping, or undo the change. Nothing is lost: what changes meanwhile goes into the next"
            " release.",
        ) from error
