"""What the config says of a system's own tables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distributor.mapping.expressions import quoted
from distributor.mapping.tables import ColumnMapping, TableMapping
from distributor.model.dataset import TypeText
from distributor.settings.section import Name, Section


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
