"""One run of the demo from outside: it cleans up whatever happens, or leaves a keeper behind when asked to."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

from rich.console import Console

from distributor.demo.estate import Estate
from distributor.demo.outcome import DemoOutcome, Kept
from distributor.demo.screen import Screen
from distributor.demo.story import Story, Wishes


def run(wishes: Wishes, as_json: bool) -> DemoOutcome:
    """Tells the whole story. Raises DistributorError, KeyboardInterrupt; nothing is left behind then."""
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    with Screen(console) as screen, _interruptions(screen):
        story = Story(wishes, screen)
        try:
            outcome = story.tell()
            if wishes.keep:
                return outcome.model_copy(update={"kept": _leave_running(story.estate, story.key)})
        except BaseException:
            _clean_up(story.estate)
            raise
        screen.act("Stopping everything")
        _clean_up(story.estate)
    return outcome


def _clean_up(estate: Estate) -> None:
    _interrupt_no_more()
    estate.remove()


def _interrupt_no_more() -> None:
    """A second Ctrl-C must not cut the clearing-up short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _leave_running(estate: Estate, key: str) -> Kept:
    """Forks a keeper: servers and roles end with whoever holds their pipes, and a fork holds them too."""
    pid = os.fork()
    if pid == 0:
        _keep(estate)
    return Kept(
        pid=pid,
        config=str(estate.config),
        master=estate.master_url,
        ledger=estate.ledger_url,
        systems={place.name: place.url for place in estate.places()},
        page=f"http://{estate.listen}",
        key=key,
    )


def _keep(estate: Estate) -> None:
    os.setsid()
    with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123
        for number in range(3):
            os.dup2(nowhere.fileno(), number)
    stopping = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    signal.sigwait(stopping)
    try:
        estate.remove()
    finally:
        os._exit(0)


@contextlib.contextmanager
def _interruptions(screen: Screen) -> Iterator[None]:
    """SIGTERM and Ctrl-C are answered at once, and clean up alike."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _interrupt_no_more()
        with contextlib.suppress(RuntimeError):  # it may have come in the middle of a line
            screen.act("Interrupted: stopping everything …")
        raise KeyboardInterrupt

    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handled:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
