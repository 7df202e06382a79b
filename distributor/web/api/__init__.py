"""The HTTP API: one router per resource."""

from distributor.web.api import me

ROUTERS = (me.router,)
"""All of them; their paths are under /v1."""
