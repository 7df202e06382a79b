"""How soon a PostgreSQL connection notices that nobody is at its other end any more.

Without these the kernel decides: after a quarter of an hour where something was sent, else after two hours. For so
long a vanished server would keep a process waiting, and a vanished process would keep its locks.
"""

from __future__ import annotations

from typing import Any

CLIENT: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""Parameters of libpq: integers, in seconds; `tcp_user_timeout` in milliseconds."""

SERVER = " ".join(f"-c tcp_{name.removeprefix('tcp_')}={value}" for name, value in CLIENT.items())
"""The same for the server's end, as `options` of a connection."""
