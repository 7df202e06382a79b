"""The stream of events: one reader of the feed per process, and as many clients as there are.

hub = Hub(engine)
api.include_router(router(hub, needs(Act.READ)))   # GET /events
hub.start(stopping)                                # in the running loop
await hub.stop()                                   # ends every stream; before the server waits for connections
"""

from distributor.web.events.hub import CONNECTIONS, Hub, TooManyError
from distributor.web.events.router import router

__all__ = ["CONNECTIONS", "Hub", "TooManyError", "router"]
