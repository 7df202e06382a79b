"""Which tables a system holds, and how their rows come from datasets: the config's words as values."""

from __future__ import annotations

import hashlib
from importlib.metadata import version

from distributor.mapping.expressions import as_plain, names, parsed
from distributor.model.dataset import Frozen, TypeText

IDENTITY = "identity/1"
SQL = f"sql/1 duckdb/{version('duckdb')}"
EVERYTHING = "*"


def joined(dataset: str) -> str:
    """The name under which a dataset travels together with columns of the rows that it references."""
    return f"{dataset}.joined"


def is_joined(dataset: str) -> bool:
    """Whether it is such a name. No dataset of the config has a point in its own."""
    return dataset.endswith(".joined")


def unjoined(dataset: str) -> str:
    """The dataset itself, by either of its names."""
    return dataset.removesuffix(".joined")


class ColumnMapping(Frozen):
    """A column of the system's table. `type` is needed where `expr` is more than a column's name.

    The name `*` stands for every column of the dataset that no other entry reads plainly, or is called like, under its
    own name.
    """

    name: str
    expr: str
    type: TypeText | None = None


class TableMapping(Frozen):
    """One table of a system: the dataset whose rows it shows, and the name under which readers find it.

    `columns` without an entry is every column; `where` without a text every row. `references` is those of the dataset,
    (column, referenced dataset), given only where an expression needs them.
    """

    dataset: str
    into: str
    where: str = ""
    columns: tuple[ColumnMapping, ...] = ()
    references: tuple[tuple[str, str], ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is the dataset as it is."""
        return not self.where and not self.columns

    @property
    def source(self) -> str:
        """The dataset whose changesets it reads."""
        return joined(self.dataset) if self.foreign else self.dataset

    @property
    def foreign(self) -> tuple[tuple[str, str], ...]:
        """What it reads of referenced rows: (referencing column, column of the row). Raises ConfigError."""
        written = [(column.name, column.expr) for column in self.columns if column.expr != EVERYTHING]
        written += [("where", self.where)] if self.where else []
        trees = [parsed(text, f"{self.where_of()}, column {name}, {text!r}") for name, text in written]
        read = {name for tree in trees for name in names(tree) if self.is_foreign(name.of)}
        found = {(self.reference_of(name.of), name.column) for name in read}
        return tuple(sorted(found))

    def is_foreign(self, qualifier: str) -> bool:
        """Whether a column so qualified is one of a referenced row."""
        return qualifier not in ("", self.dataset)

    def reference_of(self, qualifier: str) -> str:
        """The referencing column that a qualifier means: its own name, or the referenced dataset's where it is the
        only one. Raises ConfigError."""
        from distributor.errors import ConfigError

        columns = [column for column, target in self.references if qualifier in (column, target)]
        if len(columns) == 1:
            return columns[0]
        known = ", ".join(f"{column} (→ {target})" for column, target in self.references) or "none"
        raise ConfigError(
            f"{qualifier!r} names {'two references' if columns else 'no reference'} of {self.dataset}; it has {known}",
            where=self.where_of(),
            mend='Declare it in [master.datasets.NAME] as references = {column = "dataset"}, and write column.name.',
        )

    def where_of(self) -> str:
        """Where this is in the config, for messages."""
        return f"table {self.into} of dataset {self.dataset}"

    def plainly_read(self) -> dict[str, str]:
        """Column of the dataset → name in the table, for entries that are nothing but a column."""
        found: dict[str, str] = {}
        for column in self.columns:
            if column.expr == EVERYTHING or column.name == EVERYTHING:
                continue
            name = as_plain(parsed(column.expr, f"{self.where_of()}, column {column.name}, {column.expr!r}"))
            if name is not None and not self.is_foreign(name.of):
                found.setdefault(name.column, column.name)
        return found


class SystemMapping(Frozen):
    """All tables of one system, in the order of the config. `masking` is the version of the policy under which it sees
    the rows, "" in clear."""

    system: str
    tables: tuple[TableMapping, ...]
    masking: str = ""

    @property
    def version(self) -> str:
        """The mapping's fingerprint: a changed mapping (policy, engine) is another content for the same release."""
        engine = IDENTITY if all(table.plain for table in self.tables) else SQL
        written = self.model_dump_json(exclude_defaults=True)
        return hashlib.sha256(f"{engine}\n{written}".encode()).hexdigest()

    def under(self, masking: str) -> SystemMapping:
        """The same tables of rows that are masked under this version of a policy; "": in clear."""
        return self.model_copy(update={"masking": masking}) if masking != self.masking else self
