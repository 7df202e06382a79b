"""Beside the publisher: whenever the chain has become long, a base of the newest release is made, and
of its editions."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from distributor.errors import DistributorError
from distributor.ledger.engine import transaction
from distributor.settings import Settings
from distributor.store.directory import DirectoryStore
from distributor.telemetry.logs import logger
from distributor.upkeep.apart import make_apart
from distributor.upkeep.compaction import Watch, editions_due

LOOK_SECONDS = 10.0
_PAUSE_SECONDS = 300.0
"""After a failure: what is wrong with a store is not mended in seconds, and publishing does not depend on it."""
_log = logger("compacting")


def compact_until(settings: Settings, engine: Engine, stopped: threading.Event) -> None:
    """Makes bases until `stopped` is set. What fails is said, and tried again later; it never ends the publisher."""
    path = settings.resolve(settings.store.path)
    store = DirectoryStore(path)
    watch = Watch(store, settings.store)
    pause = 0.0
    while not stopped.wait(pause):
        pause = LOOK_SECONDS
        try:
            with transaction(engine) as conn:
                due = watch.look(conn)
            if due is None:
                continue
            _log.info("compacting", release=due.release, why=due.why)
            rows = make_apart(path, due, stopped)
            with transaction(engine) as conn:
                masked = editions_due(conn, settings, due)
            for version, of_edition in masked.items():
                make_apart(store.edition_path(version), of_edition, stopped)
        except (DistributorError, OSError) as error:
            _log.warning("no base was made", why=str(error))
            pause = _PAUSE_SECONDS
        else:
            if rows is not None:
                _log.info("compacted", release=due.release, rows=rows)
