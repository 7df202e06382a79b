"""What `check` asks of a system's mapping: does every table fit the shapes of its datasets, and is every expression one
that can be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from distributor.cli.finding import Findings
from distributor.errors import DistributorError
from distributor.mapping.compiled import Compiled, compile_table
from distributor.mapping.joined import joins
from distributor.shaping.engine import Engine

if TYPE_CHECKING:
    from distributor.mapping.tables import SystemMapping
    from distributor.model.dataset import DatasetSchema

_PUBLISH = "The next release will: run `distributor publish`."


def check_mapping(
    part: str,
    mapping: SystemMapping,
    shapes: Mapping[str, DatasetSchema],
    coming: Mapping[str, DatasetSchema],
    findings: Findings,
) -> tuple[list[Compiled], list[Compiled]]:
    """The tables as the newest release (`shapes`) has them, and as the next one will (`coming`): those that fit."""
    future, wrong = _fitting(mapping, _with_joined(mapping, coming))
    for error in wrong:
        findings.failure(part, error)
    now, lacking = _fitting(mapping, shapes)
    fits = {table.name for table in future}
    for table in mapping.tables:
        if shapes and table.into in fits and table.source not in shapes:
            findings.note(part, f"the newest release does not have what {table.into} is made of", _PUBLISH)
    told = {str(error) for error in wrong}
    for error in lacking:
        if str(error) not in told:
            findings.note(part, f"the newest release does not fit: {error.where}: {error.what}", _PUBLISH)
    return now, future


def note_decimals_as_text(part: str, tables: Sequence[Compiled], findings: Findings) -> None:
    """Tells of decimals that SQLite has no number for."""
    columns = [
        f"{table.name}.{column.name}"
        for table in tables
        for column in table.schema.columns
        if column.type.kind == "decimal" and not column.type.fits_a_double
    ]
    if columns:
        findings.note(part, f"decimals that SQLite holds as text, and compares as text: {', '.join(columns)}")


def _fitting(
    mapping: SystemMapping, shapes: Mapping[str, DatasetSchema]
) -> tuple[list[Compiled], list[DistributorError]]:
    """Tables every expression of which can be computed, and why others cannot. Those of datasets that have no shape
    here are neither."""
    fit: list[Compiled] = []
    wrong: list[DistributorError] = []
    for table in mapping.tables:
        if table.source not in shapes:
            continue
        try:
            compiled = compile_table(mapping.system, table, shapes[table.source])
            engine = Engine(compiled)
            try:
                engine.bind()
            finally:
                engine.close()
        except DistributorError as error:
            wrong.append(error)
        else:
            fit.append(compiled)
    return fit, wrong


def _with_joined(mapping: SystemMapping, shapes: Mapping[str, DatasetSchema]) -> dict[str, DatasetSchema]:
    """The shapes, and those that a publish would make of them for tables that read referenced rows."""
    made = {
        one.name: one.shape(shapes)
        for one in joins([mapping]).values()
        if {one.dataset, *(reference.target for reference in one.references)} <= shapes.keys()
    }
    return {**shapes, **made}
