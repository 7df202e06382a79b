"""A mapping for one shape of a dataset: keys, names, types, and what is the dataset as it is."""

from __future__ import annotations

import pytest

from distributor.errors import ConfigError
from tests.shaping.shapes import Row, dataset, kept, table

SOURCE = dataset(
    {
        "sku": "text",
        "country": "text",
        "Price": "decimal(12,2)",
        'a "b" c': "text",
        "select": "integer",
        "größe": "text",
        "data": "json",
        "any": "decimal",
    },
    key=("sku", "country"),
)
ROW: Row = ("S", "DE", "1.5", "x", "7", "L", '{"a": 1}', "1.25")


def test_names_of_any_characters_and_case() -> None:
    compiled = table(
        SOURCE,
        {
            "sku": "sku",
            "country": "COUNTRY",
            "Ünïcode name; --": '"a ""b"" c"',
            "x": "price",
            "from": '"select"',
            "GRÖSSE": 'items."größe"',
            "sum": ('"select" + 1', "integer"),
        },
    )
    assert kept(compiled, [ROW]) == [("S", "DE", "x", "1.5", "7", "L", "8")]
    assert compiled.schema.column_names[2] == "Ünïcode name; --"


def test_a_name_that_is_two_columns_but_for_case_must_be_written_exactly() -> None:
    source = dataset({"id": "integer", "Name": "text", "name": "text", "x": "text"})
    compiled = table(source, {"id": "id", "a": '"Name"', "b": "name"})
    assert kept(compiled, [["1", "N", "n", "x"]]) == [("1", "N", "n")]
    with pytest.raises(ConfigError, match="no column 'NAME'"):
        table(source, {"id": "id", "a": "NAME"})


def test_a_renamed_key_keeps_its_order() -> None:
    compiled = table(SOURCE, {"land": "country", "v": '"a ""b"" c"', "no": "sku"})
    assert compiled.schema.key == ("no", "land")
    assert compiled.schema.key_positions == (2, 0)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"sku": "sku"}, "the key column 'country' is not among its columns"),
        ({"a": "country", "b": "Price"}, "the key column 'sku' is not among its columns"),
        ({"sku": ("upper(sku)", "text"), "country": "country"}, "the key column 'sku' is not among its columns"),
        ({"sku": "sku", "country": "country", "SKU": "country"}, "two columns are called"),
        ({"sku": "sku", "country": "country", "x": "upper(sku)"}, "it has no type"),
        ({"sku": "sku", "country": "country", "x": "nowhere"}, "no column 'nowhere'"),
        ({"sku": "sku", "country": "country", "x": ("other.name", "text")}, "names no reference"),
        ({"sku": "sku", "country": "country", "x": ("data", "decimal")}, "needs its digits"),
        ({"sku": "sku", "country": "country", "x": ("coalesce(data, data)", "json")}, "json is only carried"),
        ({"sku": "sku", "country": "country", "x": ("Price * 2", "decimal(39,2)")}, "at most 38 digits"),
        ({"sku": "sku", "country": "country", "x": ("Price / 3", "decimal(16,2)")}, "15 exact digits"),
    ],
)
def test_what_does_not_fit_the_dataset_is_refused(columns: dict[str, str | tuple[str, str]], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(SOURCE, columns)
    assert what in caught.value.what


def test_json_and_decimals_without_digits_are_carried_as_they_are() -> None:
    columns = {"sku": "sku", "country": "country", "d": "data", "n": '"any"', "t": ("data", "text")}
    compiled = table(SOURCE, columns)  # type: ignore[arg-type]
    assert kept(compiled, [ROW]) == [("S", "DE", '{"a": 1}', "1.25", '{"a": 1}')]
    assert compiled.identity
    assert not compiled.unchanged


def test_what_is_the_dataset_column_for_column_is_unchanged() -> None:
    assert table(SOURCE).unchanged
    assert table(SOURCE, {"*": "*"}).unchanged
    assert not table(SOURCE, where="TRUE").unchanged
    assert not table(SOURCE, {"*": "*", "sku": ("sku", "text(4)")}).unchanged
    assert not table(SOURCE, {"*": "*", "more": ("1", "integer")}).unchanged


def test_the_fingerprint_is_of_what_rows_come_to() -> None:
    columns: dict[str, str | tuple[str, str]] = {
        "sku": "sku",
        "country": "country",
        "p": ("Price * 2", "decimal(12,2)"),
    }
    one = table(SOURCE, columns, "Price > 1", into="one")
    assert one.fingerprint == table(SOURCE, columns, "Price > 1", into="other").fingerprint
    others = [
        table(SOURCE, columns, "Price > 2"),
        table(SOURCE, {**columns, "p": ("Price * 3", "decimal(12,2)")}, "Price > 1"),
        table(SOURCE, {**columns, "p": ("Price * 2", "decimal(12,3)")}, "Price > 1"),
        table(SOURCE, columns),
        table(
            dataset({**{c.name: str(c.type) for c in SOURCE.columns}, "new": "text"}, SOURCE.key), columns, "Price > 1"
        ),
    ]
    assert len({found.fingerprint for found in (one, *others)}) == 1 + len(others)
