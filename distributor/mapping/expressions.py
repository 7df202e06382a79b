"""SQL expressions over one row: parsed with sqlglot, allowed by a list, and nothing that is not on it.

Allowed is what gives the same value for the same row for ever: arithmetic, comparison, CASE, casts and the functions
below. Not allowed: sub-selects, aggregates, windows, lists, time of day, chance, files, network, settings, comments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from distributor.errors import ConfigError
from distributor.model.unfit import SHOWN

MOST_DEPTH = 100
"""How deeply an expression may be nested: every reader of it recurses, on whatever stack it is called."""
MOST_CHARACTERS = 10_000


class _Dialect(DuckDB):
    def to_json_path(self, path: exp.Expr | None) -> exp.Expr | None:
        # DuckDB reads 'a.b' as one key; read and written anew, it would become the path $.a.b.
        return path


_DIALECT = _Dialect
ALLOWED: tuple[type[exp.Expression], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Var,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape,
    exp.NullSafeEQ, exp.NullSafeNEQ, exp.And, exp.Or, exp.Not,
    exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam,
    exp.Upper, exp.Lower, exp.Trim, exp.Length, exp.Substring, exp.Left, exp.Right, exp.Replace, exp.Reverse,
    exp.Concat, exp.ConcatWs, exp.Pad, exp.SplitPart, exp.StrPosition, exp.StartsWith, exp.EndsWith, exp.Contains,
    exp.RegexpReplace, exp.RegexpLike, exp.RegexpExtract, exp.MD5,
    exp.Round, exp.Abs, exp.Ceil, exp.Floor, exp.Sign, exp.Greatest, exp.Least,
    exp.Extract, exp.Year, exp.Month, exp.Day, exp.TimestampTrunc, exp.DateTrunc, exp.TimeToStr,
    exp.JSONExtract, exp.JSONExtractScalar,
)  # fmt: skip
_ONE = {"expressions"}
_TYPES = {
    exp.DataType.Type[name]
    for name in (
        "BOOLEAN", "SMALLINT", "INT", "BIGINT", "DECIMAL", "DOUBLE", "VARCHAR", "TEXT", "DATE", "TIME",
        "TIMESTAMPNTZ", "TIMESTAMPTZ", "UUID", "VARBINARY",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A column as an expression names it. `of` is what stands before the point, "" for the dataset's own columns."""

    of: str
    column: str

    def __str__(self) -> str:
        return f"{self.of}.{self.column}" if self.of else self.column


@lru_cache(maxsize=4096)
def parsed(text: str, where: str) -> exp.Expression:
    """The expression. `where` names its place in the config. Raises ConfigError for what is none, or not allowed."""
    select = _select(text, where)
    tree: exp.Expression = select.expressions[0]
    for node, depth in _nodes(tree):
        if depth > MOST_DEPTH:
            raise ConfigError(f"{_shown(text)!r} is nested more than {MOST_DEPTH} deep", where=where)
        if problem := _problem(node):
            raise ConfigError(
                f"{problem} is not allowed in {_shown(text)!r}",
                where=where,
                mend="An expression gives the same value for the same row for ever; docs/mappings.md has the list.",
            )
    return tree


def _select(text: str, where: str) -> exp.Select:
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{_shown(text)!r} has more than {MOST_CHARACTERS:,} characters", where=where)
    try:
        tokens = sqlglot.tokenize(text, dialect=_DIALECT)
        statements = sqlglot.parse(f"SELECT {text}", dialect=_DIALECT)
    except SqlglotError as error:
        raise ConfigError(f"{_shown(text)!r} is no SQL expression: {_first_line(error)}", where=where) from error
    except RecursionError as error:
        raise ConfigError(f"{_shown(text)!r} is nested more than {MOST_DEPTH} deep", where=where) from error
    select = statements[0] if len(statements) == 1 else None
    ended = any(token.token_type is TokenType.SEMICOLON for token in tokens)
    if ended or not isinstance(select, exp.Select) or len(select.expressions) != 1 or set(_parts(select)) != _ONE:
        raise ConfigError(f"{_shown(text)!r} is not one SQL expression", where=where)
    if any(token.comments for token in tokens):
        raise ConfigError(f"a comment is not allowed in {_shown(text)!r}", where=where, mend="Leave it out.")
    return select


def names(tree: exp.Expression) -> tuple[Name, ...]:
    """The columns that an expression reads, in order, each once."""
    return tuple(dict.fromkeys(_name(column) for column in tree.find_all(exp.Column, bfs=False)))


def as_plain(tree: exp.Expression) -> Name | None:
    """The column when the expression is nothing else."""
    return _name(tree) if isinstance(tree, exp.Column) else None


def quoted(name: str) -> str:
    """A column's name as an expression."""
    return '"' + name.replace('"', '""') + '"'


def divides(tree: exp.Expression) -> bool:
    """Whether it divides: DuckDB does that in doubles, whatever the operands are."""
    return tree.find(exp.Div) is not None


def rendered(tree: exp.Expression, column: Callable[[Name], str]) -> str:
    """DuckDB's SQL, each column replaced by the SQL that `column` gives."""

    def replace(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column):
            return exp.Paren(this=sqlglot.parse_one(column(_name(node)), dialect=_DIALECT))
        return node

    return tree.transform(replace).sql(dialect=_DIALECT)


def _name(column: exp.Column) -> Name:
    return Name(column.table, column.name)


def _parts(select: exp.Select) -> Iterator[str]:
    return (name for name, value in select.args.items() if value)


def _problem(node: exp.Expr) -> str:
    written = _shown(_written(node))
    if isinstance(node, exp.DataType):
        # A text's length would be read, and mean nothing: what checks it is the declared type.
        fits = node.this in _TYPES and not (node.expressions and node.this is not exp.DataType.Type.DECIMAL)
        return "" if fits and not node.args.get("nested") else f"the type {written}"
    if isinstance(node, exp.Column) and (node.args.get("db") or isinstance(node.this, exp.Star)):
        return written
    if isinstance(node, exp.In) and any(node.args.get(part) for part in ("query", "unnest", "field")):
        return "a sub-select" if node.args.get("query") else written
    if isinstance(node, exp.JSONExtract | exp.JSONExtractScalar) and not _one_place(node.expression):
        return f"{written} (behind an arrow stands one key, one number, or one path like '$.a[0]')"
    if isinstance(node, ALLOWED):
        return ""
    return "a sub-select" if isinstance(node, exp.Query | exp.Subquery) else written


def _one_place(path: exp.Expr) -> bool:
    """Whether it names one value of a document, whatever the row. DuckDB gives all of it for '', and lists for '*'."""
    if not isinstance(path, exp.Literal):
        return False
    if not path.is_string:
        return str(path.this).isdigit()
    text = str(path.this)
    return bool(text) and not text.startswith("/") and "*" not in text and ".." not in text and "?" not in text


def _nodes(tree: exp.Expr) -> Iterator[tuple[exp.Expr, int]]:
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in node.iter_expressions()]


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _written(node: exp.Expr) -> str:
    try:
        return node.sql(dialect=_DIALECT)
    except (SqlglotError, ValueError, RecursionError):
        return type(node).__name__


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
