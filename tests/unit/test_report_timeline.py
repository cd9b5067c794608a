"""When calls were made: bins that widen, and what a minute held."""

from __future__ import annotations

import random

from promptyard_worker.report.bounded import OTHERS
from promptyard_worker.report.timeline import MOST_BINS, MOST_MODELS, Timeline


def timeline(*seconds: float, tokens: int = 10) -> Timeline:
    """Calls of one model at these seconds."""
    made = Timeline()
    for second in seconds:
        made.add("m", started_s=second, tokens=tokens)
    return made


def test_nothing_has_no_bins() -> None:
    """No call, no time."""
    assert Timeline().models == []
    assert Timeline().ends_s == []


def test_bins_are_seconds_while_there_is_room() -> None:
    """Empty ones between calls are there too."""
    made = timeline(100.2, 100.9, 103.0)
    assert made.width_s == 1
    assert made.ends_s == [101.0, 102.0, 103.0, 104.0]
    assert made.calls("m") == [2, 0, 0, 1]


def test_bins_widen_and_lose_no_call() -> None:
    """A day in any order is the same day, in few bins."""
    rng = random.Random(3)
    seconds = [rng.uniform(0, 86_400) for _ in range(5_000)]
    made, ordered = timeline(*seconds), timeline(*sorted(seconds))
    assert made.width_s == 512
    assert len(made.ends_s) <= MOST_BINS
    assert sum(made.calls("m")) == 5_000
    assert made.calls("m") == ordered.calls("m")


def test_a_call_years_away_costs_no_memory() -> None:
    """The clock of one worker was wrong: the bins cover it, and stay few."""
    made = timeline(0.0, 10.0, 1.7e9)
    assert len(made.ends_s) <= MOST_BINS
    assert sum(made.calls("m")) == 3


def test_a_minute_is_the_sixty_seconds_before() -> None:
    """As a quota counts: calls of the last 60 s, whenever the minute begins."""
    made = timeline(*range(0, 120, 10), 119.5)
    calls = made.calls_a_minute("m")
    assert calls[0] == 1
    assert calls[59] == 6
    assert max(calls) == 7, "60 to 110, and 119.5"
    assert max(made.tokens_a_minute("m")) == 70


def test_a_minute_of_wide_bins_is_their_mean() -> None:
    """One call each second over two days: 60 a minute."""
    made = timeline(*range(0, 172_800, 7))
    assert made.width_s > 60
    assert abs(max(made.calls_a_minute("m")) - 60 / 7) < 0.05


def test_the_models_share_one_scale() -> None:
    """What widens one widens all."""
    made = timeline(0.0)
    made.add("n", started_s=1000.0, tokens=1)
    assert made.models == ["m", "n"]
    assert len(made.calls("m")) == len(made.calls("n")) == len(made.ends_s)


def test_more_models_than_lines_share_the_last() -> None:
    """A thousand names are a dozen, and one for the others."""
    made = Timeline()
    for number in range(1000):
        made.add(f"m{number}", started_s=0.0, tokens=1)
    assert len(made.models) == MOST_MODELS + 1
    assert made.calls(OTHERS) == [1000 - MOST_MODELS]
