"""The HTTP API and the pages as one application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as installed_version

import anyio.to_thread
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.middleware import Middleware

from distributor.access.roles import Act
from distributor.ledger.engine import ledger_engine
from distributor.settings import Settings
from distributor.web import events, openapi, problems
from distributor.web.api import ROUTERS
from distributor.web.backstage import Backstage
from distributor.web.pages.install import install as install_pages
from distributor.web.security.bodies import BodyLimit
from distributor.web.security.headers import SecurityHeaders
from distributor.web.security.needs import needs, undeclared

THREADS = 24
"""How many requests are worked on at once; each may hold a connection to the ledger."""


def create_app(settings: Settings, *, engine: Engine | None = None) -> FastAPI:
    """The application of one process. `engine` is the caller's own ledger, else it opens one while it runs.

    Raises TypeError when a route does not say who may use it.
    """
    ledger = engine or ledger_engine(settings.ledger.url, connections=THREADS + events.CONNECTIONS)
    backstage, hub = Backstage(settings, ledger), events.Hub(ledger)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.stopping = asyncio.Event()
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        hub.start(app.state.stopping)
        try:
            yield
        finally:
            await hub.stop()
            await anyio.to_thread.run_sync(backstage.verifier.stop)
            if engine is None:
                await anyio.to_thread.run_sync(ledger.dispose)

    app = FastAPI(
        title="distributor",
        version=installed_version("distributor"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        form_limits={"max_files": 0, "max_fields": 100, "max_part_size": 1 << 16},
        middleware=[Middleware(SecurityHeaders), Middleware(problems.LastResort), Middleware(BodyLimit)],
        # What it would log of a request that is not valid holds what was sent: that may be a key.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.backstage = backstage
    problems.install(app)
    for router in (*ROUTERS, events.router(hub, needs(Act.READ))):
        app.include_router(router, prefix="/v1")
    app.include_router(openapi.router)
    install_pages(app)
    if silent := undeclared(app):
        raise TypeError(f"these routes do not say who may use them: {'; '.join(silent)}")
    return app
