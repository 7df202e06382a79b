"""What every verb has at hand: the config, the ledger, the store, and a place to say how it goes."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from distributor.errors import ConfigError, DistributorError
from distributor.settings import Settings, load_settings
from distributor.telemetry import clock

if TYPE_CHECKING:
    import sqlalchemy as sa

    from distributor.store.directory import DirectoryStore


def notes_console() -> Console:
    """Where progress goes: stderr, so that stdout holds nothing but the outcome."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def without_password(url: str) -> str:
    """An address as it may be shown."""
    import sqlalchemy as sa

    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except (sa.exc.ArgumentError, ValueError):
        return "an address that cannot be read"


@dataclass
class Desk:
    """`config` is what `--config` said; `as_json` what `--json` said."""

    config: Path | None
    as_json: bool
    notes: Console = field(default_factory=notes_console)

    @cached_property
    def settings(self) -> Settings:
        """The config file. Raises ConfigError."""
        return load_settings(self.config)

    @property
    def user(self) -> str:
        """Who acts, for the audit."""
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return "unknown"

    def say(self, text: str) -> None:
        """One line of progress, on stderr."""
        self.notes.print(text)

    @contextmanager
    def ledger(self) -> Iterator[sa.Engine]:
        """The ledger, for `distributor.ledger.engine.transaction`. Raises ConfigError."""
        from distributor.ledger.engine import ledger_engine

        engine = ledger_engine(self.settings.ledger.url)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction on the ledger. Raises UnreachableError and NotInitialisedError."""
        from distributor.ledger.engine import transaction

        with self.ledger() as engine, transaction(engine) as conn:
            yield conn

    def note(self, what: str, **detail: object) -> None:
        """Puts what has just been done into the audit. It is done: where it cannot be noted, that is only said."""
        from distributor.ledger import audit
        from distributor.ledger.engine import transaction

        try:
            with self.ledger() as engine, transaction(engine) as conn:
                audit.record(conn, audit.AuditRecord(clock.now(), self.user, what, "", detail=detail))
        except DistributorError as error:
            self.say(f"the audit does not know of it: {error}")

    @cached_property
    def store(self) -> DirectoryStore:
        """The store of the config. Raises StoreError."""
        from distributor.store.directory import DirectoryStore

        return DirectoryStore(self.settings.resolve(self.settings.store.path))

    def known_environment(self, name: str) -> str:
        """The name, if the config has it. Raises UsageError that names the known ones."""
        self.settings.environment(name)
        return name

    def known_dataset(self, name: str) -> str:
        """The name, if the config has it. Raises ConfigError that names the known ones."""
        known = self.settings.master.datasets
        if name not in known:
            raise ConfigError(f"there is no dataset {name!r}", where="config", mend=f"Known: {', '.join(known)}.")
        return name
