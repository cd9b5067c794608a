"""How far a run is, and what shows it: a live view, a line now and then, or nothing."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from promptyard.batch import BatchStatus, Pause
from promptyard.cli.words import count, dollars, span
from promptyard.names import Tier

#: Jobs/s is measured over this long.
_RATE_WINDOW_S: Final = 10.0
#: Time between two lines of the plain view.
_LINE_EVERY_S: Final = 5.0


@dataclass(frozen=True)
class Snapshot:
    """How far a run is."""

    status: BatchStatus
    #: Input lines read.
    lines: int
    #: Every input line has been read and submitted.
    all_in: bool
    bad: int
    #: Something the user should know, e.g. that a queue has no worker.
    warning: str = ""


class View(Protocol):
    """Shows snapshots; a context manager, so that a terminal is left as it was found."""

    def __enter__(self) -> View:
        """Begin to show."""

    def __exit__(self, *exc: object) -> None:
        """Stop showing."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how far the run is; called several times a second."""

    def say(self, text: str) -> None:
        """Show a sentence that stays."""


class Pace:
    """Jobs per second over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def update(self, finished: int, now_s: float) -> float:
        """Note how many have finished; gives jobs/s."""
        self._points.append((now_s, finished))
        while now_s - self._points[0][0] > _RATE_WINDOW_S:
            self._points.popleft()
        first_s, first = self._points[0]
        return (finished - first) / (now_s - first_s) if now_s > first_s else 0.0


def headline(snapshot: Snapshot, pace: float) -> str:
    """The numbers of a run in one line."""
    status = snapshot.status
    parts = [f"{status.finished:,} of {status.total:,} finished", f"{pace:.1f} jobs/s"]
    if status.paused is Pause.USER:
        parts.append(f"paused (promptyard resume {status.id})")
    if not snapshot.all_in:
        parts.append(f"reading line {snapshot.lines:,}")
    elif pace > 0 and status.open:
        parts.append(f"ETA {span(status.open / pace)}")
    parts += [count(status.retries, "retry", "retries"), dollars(status.cost_usd)]
    if snapshot.bad:
        parts.append(count(snapshot.bad, "bad line"))
    if snapshot.warning:
        parts.append(snapshot.warning)
    return " | ".join(parts)


class NoView:
    """Shows nothing (``--quiet``, ``--json``)."""

    def __enter__(self) -> NoView:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""


class LineView(NoView):
    """A line every few seconds, for logs."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._pace = Pace()
        self._next_s = clock() + _LINE_EVERY_S

    def show(self, snapshot: Snapshot) -> None:
        """Print a line if it is time for one."""
        now_s = self._clock()
        pace = self._pace.update(snapshot.status.finished, now_s)
        if now_s >= self._next_s:
            self._next_s = now_s + _LINE_EVERY_S
            tiers = snapshot.status.tiers.items()
            bars = " ".join(f"{tier} {part.finished}/{part.routed}" for tier, part in tiers)
            self.say(f"{headline(snapshot, pace)} | {bars}")

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(Text(text), soft_wrap=True)


class LiveView:
    """A bar for each tier and a line of numbers, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._pace = Pace()
        self._bars = Progress(
            TextColumn("{task.description:>6}"), BarColumn(40), MofNCompleteColumn()
        )
        self._tasks: dict[Tier, TaskID] = {
            tier: self._bars.add_task(tier, total=None) for tier in Tier
        }
        self._live = Live(self._bars, console=console, transient=True, refresh_per_second=8)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Redraw."""
        for tier, part in snapshot.status.tiers.items():
            total = part.routed or None
            self._bars.update(self._tasks[tier], total=total, completed=part.finished)
        pace = self._pace.update(snapshot.status.finished, time.monotonic())
        style = "yellow" if snapshot.warning else ""
        self._live.update(Group(self._bars, Text(headline(snapshot, pace), style)))

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._live.console.print(Text(text))


def choose_view(console: Console, *, quiet: bool) -> View:
    """The view that fits: none, live on a terminal, else lines."""
    if quiet:
        return NoView()
    return LiveView(console) if console.is_terminal else LineView(console)
