"""A believable catalogue: products, prices and categories, made by the master itself from a seed.

The same seed gives the same rows. `revision` counts the change batches that touched a row; products FIRST_MARKER to
LAST_MARKER and their prices are part of every batch, so a reader can tell within one snapshot whether it sees one
release or pieces of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

import psycopg

FIRST_MARKER, LAST_MARKER = 1, 20
DATASETS = ("categories", "products", "prices")
STRIDE = 7919
"""Changed products lie this far apart, so that a batch touches the whole table."""


def batch_of(release: int) -> int:
    """The change batch that a release ends with, where every batch was published by itself: release 1 has none."""
    return release - 1


_CATEGORIES = (
    ("Kitchen", "Kettles", "Toasters", "Coffee makers", "Blenders", "Cookware", "Peelers"),
    ("Garden", "Mowers", "Hoses", "Pruners", "Furniture", "Planters", "Lighting"),
    ("Workshop", "Drills", "Saws", "Sanders", "Clamps", "Hand tools", "Fasteners"),
    ("Office", "Desks", "Chairs", "Lamps", "Paper", "Binders", "Whiteboards"),
    ("Sport", "Bicycles", "Helmets", "Tents", "Backpacks", "Shoes", "Weights"),
)
_BRANDS = (
    "Aldervik", "Bramholt", "Castelmar", "Dorsten", "Elmwright", "Fjordal", "Grenoble & Fils", "Halvorsen", "Ironbark",
    "Juniper", "Kestrel", "Lindqvist", "Montclair", "Norrland", "Oakhurst", "Pellworm",
)  # fmt: skip
_LINES = ("Classic", "Pro", "Compact", "Eco", "Studio", "Trail", "Heritage", "Plus", "Air", "Max")
_COLOURS = ("graphite", "cream", "forest green", "brushed steel", "navy", "copper", "white", "black")
_COUNTRIES = ("DE", "IT", "PL", "PT", "SE", "CZ", "TR", "VN")

_TABLES: LiteralString = """
CREATE TABLE categories (
    category_id integer PRIMARY KEY,
    parent_id integer REFERENCES categories,
    name text NOT NULL,
    path text NOT NULL
);
CREATE TABLE products (
    product_id bigint PRIMARY KEY,
    sku text NOT NULL,
    name text NOT NULL,
    brand text NOT NULL,
    category_id integer NOT NULL REFERENCES categories,
    gtin text,
    description text,
    colour text,
    weight_kg numeric(8,3),
    width_mm integer,
    height_mm integer,
    discontinued boolean NOT NULL,
    launched_on date,
    attributes jsonb NOT NULL,
    changed_at timestamptz NOT NULL,
    revision integer NOT NULL
);
CREATE TABLE prices (
    product_id bigint REFERENCES products ON DELETE CASCADE,
    currency text,
    list_price numeric(12,2) NOT NULL,
    purchase_price numeric(12,2),
    tax_percent numeric(4,1) NOT NULL,
    valid_from date NOT NULL,
    revision integer NOT NULL,
    PRIMARY KEY (product_id, currency)
);
"""

_INDEXES: LiteralString = """
CREATE UNIQUE INDEX products_sku ON products (sku);
CREATE INDEX products_category ON products (category_id);
"""

_NEW_PRODUCTS: LiteralString = """
WITH drawn AS (
    SELECT id, abs(hashint8extended(id, %(seed)s) / 2) AS h, abs(hashint8extended(id, %(seed)s + 1) / 2) AS g
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS id
), leaf AS (
    SELECT array_agg(category_id ORDER BY category_id) AS ids, array_agg(name ORDER BY category_id) AS names
    FROM categories WHERE parent_id IS NOT NULL
), named AS (
    SELECT drawn.*,
           (%(brands)s::text[])[1 + h %% %(n_brands)s] AS brand,
           (%(lines)s::text[])[1 + (h / 64) %% %(n_lines)s] AS line,
           (%(colours)s::text[])[1 + (h / 4096) %% %(n_colours)s] AS colour,
           1 + (g %% cardinality(ids))::int AS leaf_number, ids, names
    FROM drawn, leaf
)
INSERT INTO products
SELECT id,
       upper(left(brand, 3)) || '-' || lpad(id::text, 8, '0'),
       brand || ' ' || line || ' ' || rtrim(names[leaf_number], 's') || ' ' || (100 + h %% 900),
       brand, ids[leaf_number],
       CASE WHEN g %% 50 <> 0 THEN '40' || lpad((g %% 100000000000)::text, 11, '0') END,
       names[leaf_number] || ' of the ' || line || ' line in ' || colour || ', made to be repaired. Item ' || id || '.',
       colour,
       round((50 + g %% 24000) / 1000.0, 3), 20 + (h %% 1800)::int, 20 + (g %% 2200)::int,
       h %% 40 = 0,
       date '2016-01-01' + (g %% 3600)::int,
       jsonb_build_object('country', (%(countries)s::text[])[1 + (g / 8) %% %(n_countries)s],
                          'warranty_months', 12 * (1 + h %% 5), 'energy_class', chr(65 + (g %% 7)::int),
                          'tags', jsonb_build_array(lower(line), lower(names[leaf_number]))),
       timestamptz '2025-01-01 00:00:00+00' + make_interval(secs => h %% 31000000),
       %(revision)s
FROM named
"""

_NEW_PRICES: LiteralString = """
INSERT INTO prices
SELECT product_id, 'EUR', amount, round(amount * 0.62, 2), CASE WHEN h %% 12 = 0 THEN 7.0 ELSE 19.0 END,
       date '2025-01-01' + (h %% 300)::int, %(revision)s
FROM (SELECT product_id, h, round((199 + h %% 49800) / 100.0, 2) AS amount
      FROM (SELECT id AS product_id, abs(hashint8extended(id, %(seed)s + 2) / 2) AS h
            FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS id) AS drawn) AS priced
"""

_CHANGE_PRODUCTS: LiteralString = """
UPDATE products
SET name = regexp_replace(name, '( rev\\.\\d+)?$', ' rev.' || %(revision)s),
    weight_kg = weight_kg + 0.010,
    attributes = jsonb_set(attributes, '{warranty_months}', to_jsonb(24 + %(revision)s)),
    changed_at = timestamptz '2026-01-01 00:00:00+00' + make_interval(mins => %(revision)s),
    revision = %(revision)s
WHERE product_id = ANY(%(keys)s)
"""

_CHANGE_PRICES: LiteralString = """
UPDATE prices SET list_price = round(list_price * 1.02 + 0.01, 2), revision = %(revision)s
WHERE product_id = ANY(%(keys)s)
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one change batch touched: product ids, one price each."""

    revision: int
    updated: list[int]
    inserted: list[int]
    deleted: list[int]

    @property
    def products(self) -> int:
        """Products changed, new and gone."""
        return len(self.updated) + len(self.inserted) + len(self.deleted)


def create(connection: psycopg.Connection, products: int, seed: int) -> None:
    """Makes the three tables with `products` products, one price each, in one transaction."""
    with connection.transaction():
        connection.execute(_TABLES)
        _fill_categories(connection)
        _insert(connection, 1, products, seed, revision=0)
        connection.execute(_INDEXES)
    connection.execute("ANALYZE")


def change(connection: psycopg.Connection, products: int, revision: int, seed: int) -> Batch:
    """Changes `products` products and their prices in one transaction: 80 % updated, 15 % new, 5 % withdrawn.

    Raises ValueError when the catalogue is too small for that.
    """
    row = connection.execute("SELECT max(product_id) FROM products").fetchone()
    newest = int(row[0]) if row and row[0] else 0
    inserts, deletes = products * 15 // 100, products * 5 // 100
    markers = range(FIRST_MARKER, LAST_MARKER + 1)
    wanted = products - inserts - deletes - len(markers)
    if wanted < 0 or wanted + deletes > newest - LAST_MARKER:
        raise ValueError(f"{products} products cannot be changed in a catalogue of {newest}")
    drawn = _draw(connection, wanted + deletes, newest, revision)
    batch = Batch(
        revision,
        [*markers, *drawn[:wanted]],
        list(range(newest + 1, newest + 1 + inserts)),
        drawn[wanted:],
    )
    with connection.transaction():
        values = {"revision": revision, "keys": batch.updated}
        connection.execute(_CHANGE_PRODUCTS, values)
        connection.execute(_CHANGE_PRICES, values)
        connection.execute("DELETE FROM products WHERE product_id = ANY(%s)", [batch.deleted])
        if inserts:
            _insert(connection, newest + 1, newest + inserts, seed, revision)
    return batch


def _draw(connection: psycopg.Connection, wanted: int, newest: int, revision: int) -> list[int]:
    """`wanted` existing products, none of them a marker, spread over the whole table."""
    span = newest - LAST_MARKER
    start = revision * 104_729
    spread = [LAST_MARKER + 1 + (start + number * STRIDE) % span for number in range(min(span, wanted * 2))]
    rows = connection.execute(
        "SELECT product_id FROM products JOIN unnest(%s::bigint[]) WITH ORDINALITY AS pick (product_id, place)"
        " USING (product_id) ORDER BY place",
        [list(dict.fromkeys(spread))],
    ).fetchall()
    if len(rows) < wanted:
        raise ValueError(f"only {len(rows)} of {wanted} products could be drawn")
    return [int(row[0]) for row in rows[:wanted]]


def _fill_categories(connection: psycopg.Connection) -> None:
    number = 0
    with connection.cursor() as cursor, cursor.copy("COPY categories FROM STDIN") as copy:
        for top, *leaves in _CATEGORIES:
            number += 1
            parent = number
            copy.write_row((parent, None, top, top))
            for leaf in leaves:
                number += 1
                copy.write_row((number, parent, leaf, f"{top} > {leaf}"))


def _insert(connection: psycopg.Connection, first: int, last: int, seed: int, revision: int) -> None:
    values = {
        "first": first, "last": last, "seed": seed, "revision": revision,
        "brands": list(_BRANDS), "n_brands": len(_BRANDS), "lines": list(_LINES), "n_lines": len(_LINES),
        "colours": list(_COLOURS), "n_colours": len(_COLOURS),
        "countries": list(_COUNTRIES), "n_countries": len(_COUNTRIES),
    }  # fmt: skip
    connection.execute(_NEW_PRODUCTS, values)
    connection.execute(_NEW_PRICES, values)
