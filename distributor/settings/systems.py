"""What the config says of a system's own tables."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from distributor.mapping.expressions import quoted
from distributor.mapping.tables import ColumnMapping, TableMapping
from distributor.model.dataset import TypeText
from distributor.settings.durations import Duration
from distributor.settings.rules import Rule, problems
from distributor.settings.section import Name, Section


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
