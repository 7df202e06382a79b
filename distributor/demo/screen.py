"""What somebody sees while the demo runs: one line per thing that happens and, on a terminal, a live matrix below."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from distributor.cli.layout import grid
from distributor.demo.readers import Reader
from distributor.demo.watching import waits_for
from distributor.errors import DistributorError
from distributor.rollout.state import Environment, RolloutState

_COLOURS = {"online": "green", "flipping": "magenta", "waited for": "yellow", "staged": "cyan", "staging": "blue"}


class Screen:
    """Progress of one run. Use as a context; without a terminal it is plain lines with the time in front."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._begun = time.monotonic()
        self._matrix: Callable[[], Table] | None = None
        self._now = ""
        self._live = Live(
            get_renderable=self._picture, console=console, refresh_per_second=4, transient=True, redirect_stdout=False
        )

    def __enter__(self) -> Screen:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._begun

    @property
    def live(self) -> bool:
        """Whether a matrix shows what goes on."""
        return self.console.is_terminal

    def show(self, matrix: Callable[[], Table] | None) -> None:
        """From now on draws this, or nothing, below the lines."""
        self._matrix = matrix

    def act(self, text: str) -> None:
        """What begins now."""
        self._now = text
        self._line(text, "bold")

    def say(self, text: str) -> None:
        """What has been found."""
        self._line(f"  {text}", "")

    def command(self, *words: str) -> None:
        """A command that anybody could have typed."""
        self._line(f"  $ distributor {' '.join(f'{word!r}' if ' ' in word else word for word in words)}", "dim")

    def _line(self, text: str, style: str) -> None:
        self.console.print(Text.assemble((f"{self.seconds:5.1f} s  ", "dim"), (text, style)), soft_wrap=True)

    def _picture(self) -> Group:
        parts: list[Table | Text] = [Text(f"\n{self._now} …", style="bold")]
        if (matrix := self._matrix) is not None:
            # While servers go down there is nothing to draw, and the story itself says why.
            with contextlib.suppress(DistributorError):
                parts.append(matrix())
        return Group(*parts)


def matrix(environments: list[Environment], readers: list[Reader]) -> Table:
    """Systems × environments: the release that users see, and where the member is."""
    table = grid("system", *(environment.name for environment in environments), ">reads", ">errors")
    for system in dict.fromkeys(reader.place.system for reader in readers):
        mine = {reader.place.environment: reader for reader in readers if reader.place.system == system}
        table.add_row(
            system,
            *(_cell(environment, mine.get(environment.name)) for environment in environments),
            f"{sum(reader.reads for reader in mine.values()):,}",
            str(sum(len(reader.errors) for reader in mine.values())),
        )
    return table


def _cell(environment: Environment, reader: Reader | None) -> Text:
    if reader is None:
        return Text("")
    word = member_word(environment, reader.place.system)
    shown = "-" if reader.shows is None else str(reader.shows)
    return Text.assemble((f"release {shown}  ", ""), (f"● {word}", _COLOURS.get(word, "")))


def member_word(environment: Environment, system: str) -> str:
    """Where a member is in the rollout that is active, in one word."""
    rollout = environment.active
    if rollout is None:
        return "online" if environment.shown else "empty"
    if rollout.state is RolloutState.STAGING:
        behind = waits_for(environment)
        if system not in behind:
            return "staged"
        return "waited for" if len(behind) < len(rollout.required) else "staging"
    if rollout.state is RolloutState.CONVERGED:
        return "held" if environment.holds else "staged"
    return str(rollout.state)
