"""What every request has at hand: the config, the ledger, the store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from distributor.settings import Settings
from distributor.store.base import Store
from distributor.store.directory import DirectoryStore
from distributor.web.verifying import Verifier


@dataclass
class Backstage:
    """One per process, as long as it runs. `engine` has a connection for every thread that serves."""

    settings: Settings
    engine: Engine

    def __post_init__(self) -> None:
        self.verifier = Verifier(self.engine)
        # Asking who somebody is is one statement: it needs no transaction around it.
        self.asking = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @cached_property
    def store(self) -> Store:
        """The store of the config. Raises StoreError."""
        return DirectoryStore(self.settings.resolve(self.settings.store.path))


async def backstage(request: Request) -> Backstage:
    """The backstage of the app that serves this request."""
    found: Backstage = request.app.state.backstage
    return found


AtHand = Annotated[Backstage, Depends(backstage)]
"""As a parameter of a route: what it has at hand."""
