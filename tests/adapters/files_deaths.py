"""Runs a flip, a load or a first prepare of flat files again and again, and dies a step later each time, as by kill -9.

`python -m tests.adapters.files_deaths VERB DIRECTORY` leaves in DIRECTORY/1 what is there when the process died before
its first step on the disk, and so on; the last one was through. A step is a call that changes the disk. In a process
of its own, because it forks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consumers.adapters.files import FilesAdapter
from consumers.conformance.exam import ENVIRONMENT, SYSTEM
from consumers.conformance.hands import flip, load
from consumers.conformance.samples import KEY_TABLE, PRICE_TABLE, batch, numbered_rows
from distributor.settings import MemberSettings

KILLED = 137
TABLES = (PRICE_TABLE, KEY_TABLE)
_STEPS = ("fsync", "rename", "replace", "link", "symlink", "mkdir", "unlink", "rmdir")


def made(directory: Path) -> FilesAdapter:
    return FilesAdapter(MemberSettings(adapter="files", url="files:///billing"), directory)


def prepare(directory: Path) -> None:
    made(directory).prepare(ENVIRONMENT, SYSTEM, TABLES)


def load_and_flip(directory: Path) -> None:
    """Release 1 in slot b, 2 in slot a; both were online, and b is."""
    prepare(directory)
    adapter = made(directory)
    for slot, release in (("b", 1), ("a", 2)):
        load(adapter, slot, release, batch(PRICE_TABLE, numbered_rows(20 * release, release)))  # type: ignore[arg-type]
        flip(adapter)
    flip(adapter)


def load_again(directory: Path) -> None:
    load(made(directory), "a", 3, batch(PRICE_TABLE, numbered_rows(30, 3), numbered_rows(10, 2, start=30)))


Verb = Callable[[Path], None]
VERBS: dict[str, tuple[Verb, Verb]] = {
    # What is done before, and what dies.
    "prepare": (lambda directory: directory.mkdir(parents=True, exist_ok=True), prepare),
    "flip": (load_and_flip, lambda directory: flip(made(directory))),
    "load": (load_and_flip, load_again),
}


class Steps:
    """Counts the steps of this process, and dies at one of them."""

    def __init__(self, last: int) -> None:
        self.passed = 0
        self._last = last
        for name in _STEPS:
            setattr(os, name, self._counting(getattr(os, name)))

    def _counting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.passed += 1
            if self.passed == self._last:
                os._exit(KILLED)
            return call(*args, **kwargs)

        return counted


def died(verb: str, directory: Path, step: int) -> bool:
    """Does the verb in a process of its own that dies before this step; False: it was through before."""
    child = os.fork()
    if not child:
        status = 1
        try:
            Steps(step)
            VERBS[verb][1](directory)
            status = 0
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), code
    return code == KILLED


if __name__ == "__main__":
    for number in range(1, 1000):
        place = Path(sys.argv[2]) / str(number)
        place.mkdir()
        VERBS[sys.argv[1]][0](place)
        if not died(sys.argv[1], place, number):
            break
