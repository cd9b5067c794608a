"""What a run shows while it runs."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from promptyard.batch import BatchState, BatchStatus, TierProgress
from promptyard.cli import progress
from promptyard.cli.progress import LineView, LiveView, NoView, Pace, Snapshot, choose_view
from promptyard.job import JobState
from promptyard.names import Tier


def snapshot(finished: int, *, all_in: bool = True, warning: str = "") -> Snapshot:
    """A batch of 100 in the pro tier."""
    status = BatchStatus(
        id="b",
        state=BatchState.RUNNING,
        total=100,
        counts={JobState.SUCCEEDED: finished},
        tiers={Tier.PRO: TierProgress(routed=100, finished=finished)},
        retries=1,
        cost_usd=0.5,
        created=datetime.now(UTC),
    )
    return Snapshot(status, lines=120, all_in=all_in, bad=2, warning=warning)


def console(*, terminal: bool) -> Console:
    """A console that keeps what is printed."""
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def printed(target: Console) -> str:
    """What was printed."""
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_pace_is_of_the_last_seconds() -> None:
    """A stall ten seconds ago does not slow today's number."""
    pace = Pace()
    assert pace.update(0, 0.0) == 0.0
    assert pace.update(100, 10.0) == pytest.approx(10.0)
    assert pace.update(100, 20.0) == pytest.approx(0.0)
    assert pace.update(200, 22.0) == pytest.approx(100 / 2)


def test_the_headline_has_every_number() -> None:
    """Finished, pace, ETA, retries, spend, bad lines, and what to know."""
    line = progress.headline(snapshot(40, warning="no worker on lite"), 10.0)
    for part in ("40 of 100", "10.0 jobs/s", "ETA 6 s", "1 retry", "$0.5000", "2 bad lines"):
        assert part in line
    assert line.endswith("no worker on lite")
    assert "reading line 120" in progress.headline(snapshot(40, all_in=False), 10.0)


def test_the_view_fits_the_place() -> None:
    """Bars on a terminal, lines in a log, nothing when asked."""
    assert isinstance(choose_view(console(terminal=True), quiet=False), LiveView)
    assert isinstance(choose_view(console(terminal=False), quiet=False), LineView)
    assert type(choose_view(console(terminal=True), quiet=True)) is NoView


def test_the_live_view_has_a_bar_per_tier() -> None:
    """And leaves the terminal clean."""
    target = console(terminal=True)
    with LiveView(target) as view:
        view.show(snapshot(40))
        view.say("a remark")
    assert "40/100" in printed(target)
    assert "a remark" in printed(target)


def test_the_line_view_prints_a_line_now_and_then() -> None:
    """Not one for each look."""
    target = console(terminal=False)
    clock = iter([0.0, 0.1, 0.2, 5.1, 5.2])
    with LineView(target, clock=lambda: next(clock)) as view:
        for finished in (10, 20, 30, 40):
            view.show(snapshot(finished))
    assert printed(target).count("\n") == 1
    assert "30 of 100" in printed(target)
    assert "pro 30/100" in printed(target)
