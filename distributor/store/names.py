"""Names in a directory: `names/<kind>/<name>` holds the sha256 of an object."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from distributor.errors import StoreError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}\n?")


class Names:
    """Each is a file that is replaced whole. Raises StoreError and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def link(self, kind: str, name: str, sha256: str) -> None:
        """Sets a name; see `Store.link`. The directory must exist by then."""
        path = self._place(kind, name)
        descriptor, written = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
        temporary = Path(written)
        try:
            with open(descriptor, "w", closefd=True) as target:  # noqa: PTH123
                target.write(sha256 + "\n")
                target.flush()
                os.fchmod(target.fileno(), 0o644)
                os.fsync(target.fileno())
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def linked(self, kind: str, name: str) -> str | None:
        """The sha256 behind a name; None when there is none."""
        path = self._place(kind, name)
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        if not _SHA256.fullmatch(text):
            raise StoreError(
                "this name leads to no object", where=str(path), mend="Delete the file; what it named is made anew."
            )
        return text.strip()

    def links(self) -> Iterator[tuple[str, str, str]]:
        """Every name. One that is damaged is passed over: it leads nowhere."""
        for path in sorted(self._path.glob("*/*")):
            kind, name = path.parent.name, path.name
            if not _NAME.fullmatch(name):
                continue
            with suppress(StoreError):
                if sha256 := self.linked(kind, name):
                    yield kind, name, sha256

    def unlink(self, kind: str, name: str) -> None:
        """Takes a name away, if it is there."""
        self._place(kind, name).unlink(missing_ok=True)

    def directory(self, kind: str) -> Path:
        """Where the names of a kind lie."""
        return self._place(kind, "x").parent

    def _place(self, kind: str, name: str) -> Path:
        for part in (kind, name):
            if not _NAME.fullmatch(part):
                raise StoreError(f"{part!r} is no name", where=str(self._path))
        return self._path / kind / name
