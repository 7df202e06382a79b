"""The few calls of RabbitMQ's management API that a local broker needs: `rabbitmqctl` takes a second for each."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import quote

from distributor.errors import UnreachableError


@dataclass(frozen=True)
class Management:
    """The management API of one broker."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)

    def is_up(self) -> bool:
        """Whether the API answers and knows the user."""
        try:
            return self._call("GET", "/api/whoami") == 200
        except (OSError, http.client.HTTPException):
            return False

    def create_vhost(self, name: str) -> None:
        """Creates a virtual host that the user may use. Raises UnreachableError when the broker does not do it."""
        self._demand("PUT", f"/api/vhosts/{quote(name, safe='')}", {})
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self._demand("PUT", f"/api/permissions/{quote(name, safe='')}/{quote(self.user, safe='')}", rights)

    def delete_vhost(self, name: str) -> None:
        """Deletes a virtual host with all its queues, and closes its connections."""
        self._demand("DELETE", f"/api/vhosts/{quote(name, safe='')}", None, also=404)

    def _demand(self, method: str, path: str, body: dict[str, str] | None, also: int = 204) -> None:
        where = f"{self.host}:{self.port}"
        try:
            status = self._call(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"RabbitMQ's management API does not answer: {error}", where=where) from error
        if status not in (200, 201, 204, also):
            raise UnreachableError(f"RabbitMQ's management API answered {status} to {method} {path}", where=where)

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> int:
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json", "Connection": "close"}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()
