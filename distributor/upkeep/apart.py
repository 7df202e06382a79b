"""A base made in a process of its own: `python -m distributor.upkeep.apart STORE RELEASE MANIFEST`.

It is the last to get the processor, and takes none of the publisher's time, as a thread of the same interpreter would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from distributor.errors import DistributorError, StoreError
from distributor.store.bases import base_of
from distributor.store.directory import DirectoryStore
from distributor.upkeep.compaction import Due

_LAST = 19
_LOOK_SECONDS = 0.1
_END_SECONDS = 10.0


def make_apart(store: Path, due: Due, stopped: threading.Event) -> int | None:
    """Makes a base in another process and returns its rows; None when `stopped` was set first, and it was ended.

    Raises StoreError with what the other process said.
    """
    command = [sys.executable, "-m", __name__, str(store), str(due.release), due.manifest]
    # What a test arms is for the publisher.
    environment = {name: value for name, value in os.environ.items() if name != "DISTRIBUTOR_FAULT"}  # noqa: TID251
    # A session of its own: a Ctrl-C at the terminal is for the publisher, which ends this in good order.
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while process.poll() is None:
            if stopped.wait(_LOOK_SECONDS):
                return None
        assert process.stdout is not None
        return _said(process.stdout.read(), process.returncode, due)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _said(text: bytes, code: int, due: Due) -> int:
    try:
        told = json.loads(text)
        if "rows" in told:
            return int(told["rows"])
        why = str(told["why"])
    except (ValueError, LookupError, TypeError):
        why = f"it ended with exit code {code} and said nothing"
    raise StoreError(f"it was not made: {why}", where=f"base of release {due.release}")


def main(path: str, release: str, manifest: str) -> int:
    """Makes the base, and says on stdout how many rows it has, or why there is none."""
    os.nice(_LAST)
    try:
        told: dict[str, object] = {"rows": base_of(DirectoryStore(Path(path)), int(release), manifest).base.rows}
    except DistributorError as error:
        told = {"why": str(error)}
    sys.stdout.write(json.dumps(told))
    return 0 if "rows" in told else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
