"""Runs several roles as processes of their own, and never leaves one behind.

Each role's stdin is a pipe that this process holds: when this process is gone, however it died, the pipe ends and the
role stops. A role that ends by itself is started again, later each time, and that is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
STEADY_SECONDS = 60.0
PATIENCE_SECONDS = 15.0
LONGEST_LINE = 1 << 20
WITH_PARENT, FOR_EYES = "--with-parent", "--for-eyes"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RoleProcess:
    """One process: its name in the log, and its words after `distributor serve`."""

    name: str
    words: tuple[str, ...]


def run_all(roles: Sequence[RoleProcess], config: Path | None, say: Say) -> int:
    """Runs all roles until SIGTERM or SIGINT, then stops them; returns the signal's number."""
    return asyncio.run(_run_all(roles, config, say))


async def _run_all(roles: Sequence[RoleProcess], config: Path | None, say: Say) -> int:
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    async with asyncio.TaskGroup() as group:
        for role in roles:
            group.create_task(_keep(role, config, say, stopped))
    return await stopped


async def _keep(role: RoleProcess, config: Path | None, say: Say, stopped: asyncio.Future[int]) -> None:
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while not stopped.done():
        began = loop.time()
        code = await _run_once(role, config, say, stopped)
        if stopped.done():
            say(f"{role.name} | stopped")
            return
        pause = FIRST_PAUSE if loop.time() - began > STEADY_SECONDS else pause
        say(f"{role.name} | ended with exit code {code}; it is started again in {pause:g} s")
        await asyncio.wait([stopped], timeout=pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _run_once(role: RoleProcess, config: Path | None, say: Say, stopped: asyncio.Future[int]) -> int:
    """One life of a role: until it ends by itself, or is ended because all stop. Returns its exit code."""
    options = ["--config", str(config)] if config else []
    if sys.stderr.isatty():
        options.append(FOR_EYES)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "distributor", "serve", *role.words, WITH_PARENT, *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=LONGEST_LINE,
        start_new_session=True,  # Ctrl-C is for this process, which stops them in good order
    )
    assert process.stdout is not None
    say(f"{role.name} | started as process {process.pid}")
    relay = asyncio.create_task(_relay(role.name, process.stdout, say))
    ended = asyncio.create_task(process.wait())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait([ended], timeout=PATIENCE_SECONDS)
    if not ended.done():
        say(f"{role.name} | did not stop within {PATIENCE_SECONDS:g} s and is killed")
        process.kill()
    code = await ended
    await relay
    return code


async def _relay(name: str, lines: asyncio.StreamReader, say: Say) -> None:
    while True:
        try:
            line = await lines.readline()
        except ValueError:
            continue  # longer than the buffer: the rest of it follows
        if not line:
            return
        say(f"{name} | {line.decode(errors='replace').rstrip()}")


def stop_with_parent() -> None:
    """Asks this very process to stop (SIGTERM) when its stdin ends: whoever started it is gone."""

    def watch() -> None:
        # Not through sys.stdin: a daemon thread that holds its lock breaks the interpreter's shutdown.
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
