"""The cast: eight unlike systems in `prod`, two of them again in the test team's `uat`. Each has tables of its own."""

from __future__ import annotations

from dataclasses import replace

from distributor.demo.estate_config import EnvironmentPlan, SystemPlan
from distributor.demo.tables import Table, columns

PROD, UAT = "prod", "uat"
ABSENT = "warehouse"
"""The system whose consumer is stopped."""
REFERENCES = {"products": {"category_id": "categories"}, "prices": {"product_id": "products"}}
COPIED = "sales"
"""The system that is copied whole for comparison."""

_WITH_PRODUCT = "prices AS r JOIN products AS p USING (product_id)"
_CATEGORIES = Table("categories", columns("category_id integer\nparent_id integer\nname text\npath text"), "categories")
_PRODUCTS = Table(
    "products",
    columns(
        "product_id integer\nsku text\nname text\nbrand text\ncategory_id integer\ngtin text\ndescription text\n"
        "colour text\nweight_kg decimal\nwidth_mm integer\nheight_mm integer\ndiscontinued flag\nlaunched_on date\n"
        "attributes json\nchanged_at instant\nrevision integer"
    ),
    "products",
    marked="product_id",
)
_PRICES = Table(
    "prices",
    columns(
        "product_id integer\ncurrency text\nlist_price decimal\npurchase_price decimal\ntax_percent decimal\n"
        "valid_from date\nrevision integer"
    ),
    "prices",
    key=2,
    marked="product_id",
)
_EVERYTHING = (_PRODUCTS, _PRICES, _CATEGORIES)

_PURCHASE = SystemPlan(
    "purchase",
    "mariadb",
    mapping="""
[[systems.purchase.tables]]
dataset = "products"
into = "items"
[systems.purchase.tables.columns]
item_no = "product_id"
sku = "sku"
title = {expr = "brand || ': ' || name", type = "text(120)"}
revision = "revision"
[[systems.purchase.tables]]
dataset = "prices"
into = "costs"
where = "purchase_price IS NOT NULL"
[systems.purchase.tables.columns]
item_no = "product_id"
currency = "currency"
cost = "purchase_price"
vat = {expr = "tax_percent * 0.01", type = "decimal(6,4)"}
since = "valid_from"
""",
    facts=(
        Table(
            "items",
            columns("item_no integer product_id\nsku text\ntitle text brand || ': ' || name\nrevision integer"),
            "products",
            marked="item_no",
        ),
        Table(
            "costs",
            columns(
                "item_no integer product_id\ncurrency text\ncost decimal purchase_price\n"
                "vat decimal tax_percent / 100\nsince date valid_from"
            ),
            "prices WHERE purchase_price IS NOT NULL",
            key=2,
        ),
    ),
)
_CRM = SystemPlan(
    "crm",
    "postgresql",
    mapping="""
[[systems.crm.tables]]
dataset = "products"
[systems.crm.tables.columns]
product_id = "product_id"
label = {expr = "name || ' (' || brand || ')'", type = "text"}
category = {expr = "category_id.name", type = "text"}
on_sale = {expr = "NOT discontinued", type = "boolean"}
revision = "revision"
[[systems.crm.tables]]
dataset = "categories"
""",
    facts=(
        Table(
            "products",
            columns(
                "product_id integer p.product_id\nlabel text p.name || ' (' || p.brand || ')'\ncategory text c.name\n"
                "on_sale flag NOT p.discontinued\nrevision integer p.revision"
            ),
            "products AS p LEFT JOIN categories AS c USING (category_id)",
            marked="product_id",
        ),
        _CATEGORIES,
    ),
)
_WAREHOUSE = SystemPlan(
    "warehouse",
    "postgresql",
    mapping="""
[[systems.warehouse.tables]]
dataset = "products"
into = "stock_items"
where = "NOT discontinued"
[systems.warehouse.tables.columns]
product_id = "product_id"
sku = "sku"
weight_g = {expr = "weight_kg * 1000", type = "integer"}
size = {expr = "width_mm || ' x ' || height_mm", type = "text"}
revision = "revision"
""",
    facts=(
        Table(
            "stock_items",
            columns(
                "product_id integer\nsku text\nweight_g integer weight_kg * 1000\n"
                "size text width_mm || ' x ' || height_mm\nrevision integer"
            ),
            "products WHERE NOT discontinued",
            marked="product_id",
        ),
    ),
)
_POS = SystemPlan(
    "pos",
    "sqlite",
    mapping="""
[[systems.pos.tables]]
dataset = "products"
into = "articles"
[systems.pos.tables.columns]
product_id = "product_id"
receipt_text = {expr = "upper(left(name, 24))", type = "text(24)"}
barcode = "gtin"
revision = "revision"
[[systems.pos.tables]]
dataset = "prices"
into = "price_list"
where = "currency = 'EUR'"
[systems.pos.tables.columns]
product_id = "product_id"
currency = "currency"
name = {expr = "product_id.name", type = "text"}
price = "list_price"
revision = "revision"
""",
    facts=(
        Table(
            "articles",
            columns("product_id integer\nreceipt_text text upper(left(name, 24))\nbarcode text gtin\nrevision integer"),
            "products",
            marked="product_id",
        ),
        Table(
            "price_list",
            columns(
                "product_id integer\ncurrency text\nname text p.name\nprice decimal r.list_price\n"
                "revision integer r.revision"
            ),
            f"{_WITH_PRODUCT} WHERE currency = 'EUR'",
            key=2,
            marked="product_id",
        ),
    ),
)
_BILLING = SystemPlan(
    "billing",
    "files",
    options='encoding = "iso-8859-15", line_end = "windows"',
    mapping="""
[[systems.billing.tables]]
dataset = "prices"
into = "tariff"
[systems.billing.tables.columns]
product_id = "product_id"
currency = "currency"
net = "list_price"
gross = {expr = "round(list_price * (1 + tax_percent * 0.01), 2)", type = "decimal(14,2)"}
valid_from = "valid_from"
revision = "revision"
[[systems.billing.tables]]
dataset = "categories"
""",
    facts=(
        Table(
            "tariff",
            columns(
                "product_id integer\ncurrency text\nnet decimal list_price\n"
                "gross decimal round(list_price * (1 + tax_percent / 100), 2)\nvalid_from date\nrevision integer"
            ),
            "prices",
            key=2,
            marked="product_id",
        ),
        _CATEGORIES,
    ),
)
_SHOPCACHE = SystemPlan(
    "shopcache",
    "redis",
    options='prefix = "{environment}.shopcache"',
    mapping="""
[[systems.shopcache.tables]]
dataset = "products"
[systems.shopcache.tables.columns]
product_id = "product_id"
name = "name"
colour = "colour"
revision = "revision"
[[systems.shopcache.tables]]
dataset = "prices"
[systems.shopcache.tables.columns]
product_id = "product_id"
currency = "currency"
amount = "list_price"
revision = "revision"
""",
    facts=(
        Table(
            "products",
            columns("product_id integer\nname text\ncolour text\nrevision integer"),
            "products",
            marked="product_id",
        ),
        Table(
            "prices",
            columns("product_id integer\ncurrency text\namount decimal list_price\nrevision integer"),
            "prices",
            key=2,
        ),
    ),
)
_SALES = SystemPlan("sales", "postgresql", facts=_EVERYTHING)
_REPORTING = SystemPlan("reporting", "parquet", facts=_EVERYTHING)

ENVIRONMENTS = (
    EnvironmentPlan(PROD, "auto", (_SALES, _PURCHASE, _CRM, _WAREHOUSE, _REPORTING, _POS, _BILLING, _SHOPCACHE)),
    EnvironmentPlan(UAT, "manual", (_CRM, _BILLING)),
)
INSTEAD = {"mariadb": "postgresql", "redis": "sqlite"}
"""Store whose server cannot be had → the store that the demo uses in its place."""


def cast(missing: set[str]) -> tuple[EnvironmentPlan, ...]:
    """The environments, without the stores that cannot be had."""

    def played(system: SystemPlan) -> SystemPlan:
        return replace(system, adapter=INSTEAD[system.adapter], options="") if system.adapter in missing else system

    return tuple(replace(plan, systems=tuple(map(played, plan.systems))) for plan in ENVIRONMENTS)
