"""Rules as the config writes them: what is none is said where it stands, with what would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from distributor.errors import ConfigError
from distributor.settings import load_settings
from distributor.settings.rules import QuarantineSettings

HEAD = """\
[master]
url = "postgresql://h/m"
[master.datasets.prices]
table = "prices"
references = { product = "products" }
[master.datasets.products]
table = "products"
[[master.datasets.products.rules]]
"""
TAIL = """
[ledger]
url = "postgresql://h/l"
[broker]
url = "amqp://h/"
[store]
path = "store"
"""


def load(tmp_path: Path, rule: str) -> tuple[str, ...]:
    file = tmp_path / "distributor.toml"
    file.write_text(HEAD + rule + TAIL)
    settings = load_settings(file)
    return tuple(rule.told for rule in settings.master.datasets["products"].rules)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ('expect = "price > 0"', "price > 0"),
        ('not_null = ["name"]', "name is not null"),
        ('not_null = ["name", "brand"]', "name, brand are not null"),
        ('unique = ["barcode"]', "barcode is unique"),
        ('unique = ["barcode", "country"]', "barcode, country are unique"),
        ('range = {column = "price", min = 0.01}', "0.01 ≤ price"),
        ('range = {column = "added", max = 2026-01-01}', "added ≤ 2026-01-01"),
        ('range = {column = "price", min = 1, max = "2.50"}', "1 ≤ price ≤ 2.50"),
        ('matches = {column = "ean", pattern = "[0-9]{13}"}', "ean matches [0-9]{13}"),
        ("volume = {min_share = 0.5, max_rows = 100}", "min_share 0.5, max_rows 100"),
    ],
)
def test_what_a_rule_demands_is_told_shortly(tmp_path: Path, rule: str, told: str) -> None:
    assert load(tmp_path, f'name = "r"\n{rule}') == (told,)


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ('name = "r"', "needs exactly one of expect, not_null"),
        ('name = "r"\nexpect = "a"\nunique = ["a"]', "it has expect, unique"),
        ('name = "r"\nexpect = "random() > 0"', "is not allowed"),
        ('name = "r"\nexpect = "a >"', "is no SQL expression"),
        ('name = "r"\nunique = []', "names no column"),
        ('name = "r"\nrange = {column = "a"}', "needs min, max or both"),
        ('name = "r"\nvolume = {}', "limits nothing"),
        ('name = "r"\nvolume = {min_share = -1}', "greater than or equal to 0"),
        ('name = "r"\nvolume = {min_rows = 1}\non_fail = "quarantine"', "is about no single row"),
        ('name = "r"\nreferences = "brand"', "'brand' is not declared in `references`; declared: none"),
        ('name = "r"\nexpct = "a > 0"', "unknown key 'master.datasets.products.rules.expct'; did you mean 'expect'"),
        ('name = "r"\nunique = ["a"]\non_fail = "stop"', "'refuse', 'quarantine' or 'warn'"),
        (
            'name = "r"\nunique = ["a"]\n[[master.datasets.products.rules]]\nname = "r"\nunique = ["b"]',
            "two rules are called 'r'",
        ),
    ],
)
def test_what_is_no_rule_is_said_and_nothing_starts(tmp_path: Path, rule: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, rule)
    assert complaint in str(refused.value)
    assert "distributor.toml:" in str(refused.value)


def test_a_budget_is_of_rows_and_of_a_share_and_one_row_always_may_be() -> None:
    budget = QuarantineSettings(max_rows=100, max_share=0.01)
    assert [budget.most(rows) for rows in (0, 10, 1_000, 1_000_000)] == [1, 1, 10, 100]
    assert QuarantineSettings(max_rows=0).most(1_000) == 0
