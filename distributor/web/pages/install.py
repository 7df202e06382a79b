"""Puts the pages into an application."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from distributor.web.pages import (
    acts,
    audit,
    compare,
    environment,
    letters,
    login,
    matrix,
    plan,
    problems,
    product,
    releases,
    requests,
    rollout,
)

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

_STATIC = Path(__file__).parent.parent / "static"
_PAGES = (matrix, environment, plan, rollout, releases, product, compare, requests, letters, audit, login, acts)


class _Static(StaticFiles):
    """Files that a browser may keep, and asks about each time: a new version of the service is seen at once."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def install(app: FastAPI) -> None:
    """Adds every page, its files, and pages for problems. They are no part of what the API describes."""
    app.mount("/static", _Static(directory=_STATIC), name="static")
    for module in _PAGES:
        app.include_router(module.router, include_in_schema=False)
    app.state.render_problem = problems.render
