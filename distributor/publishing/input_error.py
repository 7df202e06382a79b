"""Whether a text is a value of a type, asked in SQL, on every server that a master may run."""

from __future__ import annotations

import psycopg

_SINCE = 160000
_NATIVE = """
CREATE OR REPLACE FUNCTION pg_temp.input_error(value text, type text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT (pg_catalog.pg_input_error_info(value, type)).message $$
"""
# Older servers can only try; a cast to varchar(n) would cut what is too long instead of refusing it.
_BY_TRYING = """
CREATE OR REPLACE FUNCTION pg_temp.input_error(value text, type text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    longest int := substring(type from '^character.*\\((\\d+)\\)$')::int;
BEGIN
    IF char_length(rtrim(value, ' ')) > longest THEN
        RETURN format('value too long for type %s', type);
    ELSIF longest IS NULL AND type <> 'text' THEN
        EXECUTE format('SELECT %L::%s', value, type);
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN sqlerrm;
END $$
"""


def provide(conn: psycopg.Connection) -> None:
    """Makes `pg_temp.input_error(value, type)`: the reason why a text is no value of that type; NULL when it is one."""
    conn.execute(_NATIVE if conn.info.server_version >= _SINCE else _BY_TRYING)
