"""Percentiles from buckets lie within 1 % of the exact ones."""

from __future__ import annotations

import random

import pytest

from promptyard.cli.histogram import RELATIVE_ERROR, Histogram


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 2.0])
def test_quantiles_are_within_the_error(q: float, sigma: float) -> None:
    """Lognormal latencies, narrow and wide."""
    rng = random.Random(7)
    durations = sorted(rng.lognormvariate(0.5, sigma) for _ in range(10_001))
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    exact = max(1e-3, durations[max(0, round(q * len(durations)) - 1)])  # 1 ms is the least
    # a neighbour's rank may differ by rounding; its value differs far less than the error here
    assert histogram.quantile_s(q) == pytest.approx(exact, rel=RELATIVE_ERROR + 0.005)


def test_nothing_has_no_percentile() -> None:
    """An empty histogram does not invent a number."""
    assert Histogram().quantile_s(0.5) is None


def test_what_is_out_of_range_is_clamped() -> None:
    """Zero and a million seconds are counted, not lost."""
    histogram = Histogram()
    for duration in (0.0, -1.0, 1e6):
        histogram.add(duration)
    assert histogram.count == 3
    assert histogram.quantile_s(0.5) == pytest.approx(1e-3, rel=0.02)
    assert histogram.quantile_s(1.0) == pytest.approx(1e5, rel=0.02)


def test_one_value_is_every_percentile() -> None:
    """One job of 2.5 s: p50, p95 and p99 are 2.5 s."""
    histogram = Histogram()
    histogram.add(2.5)
    for q in (0.5, 0.95, 0.99):
        assert histogram.quantile_s(q) == pytest.approx(2.5, rel=RELATIVE_ERROR)
