"""A route that does not say who may use it is not served."""

from __future__ import annotations

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from distributor.access.roles import Act
from distributor.settings import Settings
from distributor.web import api
from distributor.web.app import create_app
from distributor.web.security import Caller, anyone, needs
from distributor.web.security.needs import undeclared


def test_an_app_with_a_silent_route_does_not_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = APIRouter()

    @silent.get("/forgotten")
    def forgotten() -> None: ...

    monkeypatch.setattr("distributor.web.app.ROUTERS", (*api.ROUTERS, silent))
    with pytest.raises(TypeError, match="GET /v1/forgotten"):
        create_app(settings)


def test_what_counts_as_saying_so(tmp_path: object) -> None:
    app, inner = FastAPI(openapi_url=None), APIRouter(dependencies=[anyone])

    @inner.get("/open")
    def open_() -> None: ...

    @inner.get("/both")
    def both(who: Caller = needs(Act.READ)) -> None: ...

    @app.get("/said")
    def said(who: Caller = needs(Act.READ)) -> None: ...

    @app.get("/silent")
    def silent() -> None: ...

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("")

    app.include_router(inner, prefix="/in")
    app.add_route("/plain", plain)
    app.mount("/static", StaticFiles(directory=str(tmp_path)))
    app.mount("/files", StaticFiles(directory=str(tmp_path)))
    assert undeclared(app) == [" /files", "GET /in/both", "GET /silent", "GET,HEAD /plain"]
