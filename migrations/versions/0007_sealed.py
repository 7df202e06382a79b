"""The audit is sealed and only grows; what happens becomes a feed, numbered in the order of commits.

Both are done by one deferred trigger function under one lock, so that a transaction waits for others at its commit
alone, after everything else that it locks. A pre beat: programs of the version before write the same rows as ever.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FED = ("timeline", "releases", "audit")
SEALED = ("audit", "audit_chain")
CHANNEL = "distributor_events"
LOCK = 0x70_645F_6665_6564

# Lengths in bytes before each text: no two rows have the same text, however their words are cut.
TEXT = """
CREATE FUNCTION ledger.netstring(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(octet_length(convert_to(value, 'UTF8')) || ':' || value || ',', '-,')
$$
"""

SEAL = """
CREATE FUNCTION ledger.seal(previous text, act ledger.audit) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT encode(sha256(convert_to(
        previous
        || ledger.netstring(act.id::text)
        || ledger.netstring(to_char(act.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || ledger.netstring(act.who)
        || ledger.netstring(act.what)
        || ledger.netstring(act.why)
        || ledger.netstring(act.environment)
        || ledger.netstring(act.detail::text), 'UTF8')), 'hex')
$$
"""

# A session keeps the plan that it made while the tables were empty: heads are asked for so that it is a good one later
# on too. (max() would read the whole index.)
SEAL_NEXT = """
CREATE FUNCTION ledger.seal_next(act ledger.audit) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    head ledger.audit_chain;
BEGIN
    IF NOT isfinite(act.at) OR extract(year FROM act.at AT TIME ZONE 'UTC') NOT BETWEEN 1 AND 9999 THEN
        RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow',
            MESSAGE = 'the audit has no place for the time ' || act.at::text;
    END IF;
    SELECT * INTO head FROM ledger.audit_chain ORDER BY seq DESC LIMIT 1;
    INSERT INTO ledger.audit_chain (seq, audit_id, seal)
        VALUES (coalesce(head.seq, 0) + 1, act.id, ledger.seal(coalesce(head.seal, repeat('0', 64)), act));
END $$
"""

# Whoever may write an error's text into an audit row may have copied an address with its password into it.
FEED = f"""
CREATE FUNCTION ledger.feed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    event ledger.events;
BEGIN
    PERFORM pg_advisory_xact_lock({LOCK});
    CASE TG_TABLE_NAME
    WHEN 'timeline' THEN
        event.at := NEW.at;
        event.kind := NEW.kind;
        event.environment := NEW.environment;
        event.rollout_id := NEW.rollout_id;
        event.member := NEW.member;
        event.text := NEW.text;
    WHEN 'releases' THEN
        event.at := NEW.created_at;
        event.kind := 'release';
        event.text := 'release ' || NEW.number || ' was made';
        event.detail := jsonb_build_object('release', NEW.number, 'rows', NEW.rows);
    WHEN 'audit' THEN
        PERFORM ledger.seal_next(NEW);
        event.at := NEW.at;
        event.kind := 'audit';
        event.environment := NEW.environment;
        event.rollout_id := CASE WHEN jsonb_typeof(NEW.detail) = 'object' THEN NEW.detail ->> 'rollout' END;
        event.text := NEW.who || ': ' || NEW.what || CASE WHEN NEW.why = '' THEN '' ELSE ': ' || NEW.why END;
        event.detail := jsonb_build_object('id', NEW.id);
    END CASE;
    event.text := regexp_replace(event.text, '(://[^/@:[:space:]]*:)[^/[:space:]]+@', '\\1***@', 'g');
    event.text := regexp_replace(event.text, '(password=)[^[:space:]]+', '\\1***', 'gi');
    event.seq := 1 + coalesce((SELECT seq FROM ledger.events ORDER BY seq DESC LIMIT 1), 0);
    INSERT INTO ledger.events (seq, at, kind, environment, rollout_id, member, text, detail)
        SELECT event.seq, event.at, event.kind, event.environment, event.rollout_id, event.member, event.text,
            event.detail;
    PERFORM pg_notify('{CHANNEL}', '');
    RETURN NULL;
END $$
"""

REFUSE = """
CREATE FUNCTION ledger.only_grows() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'ledger.' || TG_TABLE_NAME || ' only grows: its rows are sealed, and ' || TG_OP || ' is refused',
        HINT = 'docs/audit.md says what is sealed, and how anybody can check it.';
END $$
"""

SEAL_ALL = """
DO $$
DECLARE
    act ledger.audit;
BEGIN
    FOR act IN SELECT * FROM ledger.audit ORDER BY id LOOP
        PERFORM ledger.seal_next(act);
    END LOOP;
END $$
"""


def _run(statement: str) -> None:
    # As it stands: text() would take the colons of a time's format for parameters.
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    # Nobody may add a row between the seals of the old ones and the trigger that seals the new ones.
    for table in FED:
        _run(f"LOCK TABLE ledger.{table} IN SHARE ROW EXCLUSIVE MODE")
    for function in (TEXT, SEAL, SEAL_NEXT, FEED, REFUSE):
        _run(function)
    _run(SEAL_ALL)
    for table in FED:
        _run(
            f"CREATE CONSTRAINT TRIGGER feed AFTER INSERT ON ledger.{table} DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION ledger.feed()"
        )
    for table in SEALED:
        _run(
            f"CREATE TRIGGER only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION ledger.only_grows()"
        )


def downgrade() -> None:
    for table in SEALED:
        _run(f"DROP TRIGGER only_grows ON ledger.{table}")
    for table in FED:
        _run(f"DROP TRIGGER feed ON ledger.{table}")
    for function in (
        "only_grows()",
        "feed()",
        "seal_next(ledger.audit)",
        "seal(text, ledger.audit)",
        "netstring(text)",
    ):
        _run(f"DROP FUNCTION ledger.{function}")
    _run("DELETE FROM ledger.audit_chain")
    _run("DELETE FROM ledger.events")
