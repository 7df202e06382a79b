"""The examples in the description of the API: what an estate that was used has answered.

`python -m tests.web.examples` writes distributor/web/examples.json, from a PostgreSQL of its own.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from distributor.access.roles import Role
from tests.services.postgresql import running_postgresql
from tests.web.estate import Lived, lived
from tests.web.test_matrix import MATRIX, request

FILE = Path(__file__).parents[2] / "distributor" / "web" / "examples.json"
_MOST = 2


def examples(estate: Lived) -> dict[str, Any]:
    """Operation → the document that it was answered with, with no more than is worth reading."""
    secret, found = estate.key(Role.ADMIN), {}
    for operation, line in sorted(MATRIX.items()):
        with estate.undone():
            answer = request(estate, operation, secret)
        if line.status < 300:
            found[operation] = _short(answer.json())
    found["follow"] = found["pin"] | {"done": "new releases come by themselves again"}
    found["key-create"]["secret"] = "pdk_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCde"
    return found


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return [_short(item) for item in value[:_MOST]] if isinstance(value, list) else value


def main() -> None:
    """Writes them."""
    with tempfile.TemporaryDirectory() as directory, running_postgresql(Path(directory)) as server:
        Path(directory).chmod(0o711)
        with lived(server, Path(directory) / "store") as estate:
            text = json.dumps(examples(estate), indent=1, ensure_ascii=False)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
