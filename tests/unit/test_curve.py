"""Cost against quality: RouteLLM's curve and the operating points, checked by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from promptyard.errors import RouterFileError
from promptyard_worker.routing.curve import (
    ALWAYS,
    MOST_POINTS,
    NEVER,
    Floats,
    OperatingPoint,
    choose,
    first_good_enough,
    gap_curve,
    mix_at_cost,
    operating_points,
)


def arms(prompts: int, number: int, *, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Probabilities, quality and cost; the probabilities know something of the quality."""
    rng = np.random.default_rng(seed)
    quality = np.sort(rng.random((prompts, number)), axis=1)
    probabilities = np.clip(quality + 0.2 * rng.normal(size=quality.shape), 0, 1)
    cost_usd = 0.001 * 4.0 ** np.arange(number) * (1 + rng.random((prompts, 1)))
    return probabilities, quality, cost_usd


def test_the_curve_by_hand() -> None:
    """Four prompts; the gap is 2 of 4, one prompt is better off with the weak model."""
    curve = gap_curve([0.9, 0.7, 0.4, 0.1], weak=[0, 0, 1, 0], strong=[1, 1, 0, 1])
    assert curve.strong_shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.pgr.tolist() == [0, 0.5, 1, 0.5, 1]
    assert curve.apgr == pytest.approx((0.25 + 0.75 + 0.75 + 0.75) / 4)
    assert curve.cpt(0.5) == pytest.approx(0.25)
    assert curve.cpt(0.8) == pytest.approx(0.25 + 0.25 * 0.6)
    assert curve.cpt(1) == pytest.approx(0.5)


@pytest.mark.parametrize("needy", [1, 20, 100])
def test_a_perfect_router_loses_only_what_it_must(needy: int) -> None:
    """APGR is 1 - g / 2 if a part g needs the strong model; it goes there first."""
    strong_needed = np.arange(100) < needy
    curve = gap_curve(strong_needed, weak=~strong_needed, strong=np.ones(100))
    part = needy / 100
    assert curve.apgr == pytest.approx(1 - part / 2)
    assert curve.cpt(0.5) == pytest.approx(part / 2)
    assert curve.cpt(0.8) == pytest.approx(0.8 * part)
    assert gap_curve(
        ~strong_needed, weak=~strong_needed, strong=np.ones(100)
    ).apgr == pytest.approx(part / 2)  # the worst router


def test_chance_recovers_half() -> None:
    """Exactly if all scores are equal, on average if they are random."""
    rng = np.random.default_rng(1)
    weak, strong = rng.random(300), 0.4 + rng.random(300)
    level = gap_curve(np.zeros(300), weak=weak, strong=strong)
    assert (level.apgr, level.cpt(0.5), level.cpt(0.8)) == pytest.approx((0.5, 0.5, 0.8))
    found = [gap_curve(rng.random(300), weak=weak, strong=strong).apgr for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.01)


def test_the_curve_is_that_of_every_cutoff() -> None:
    """Brute force: route by each threshold, look at calls and quality; some scores are equal."""
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 9, 60) / 8
    weak, strong = rng.random(60), 0.3 + rng.random(60)
    points = {(0.0, 0.0)}
    for cutoff in set(scores.tolist()):
        quality = np.where(scores >= cutoff, strong, weak).mean()
        pgr = (quality - weak.mean()) / (strong.mean() - weak.mean())
        points.add((float((scores >= cutoff).mean()), float(pgr)))
    curve = gap_curve(scores, weak=weak, strong=strong)
    got = np.column_stack((curve.strong_shares, curve.pgr))
    assert got == pytest.approx(np.array(sorted(points)))
    calls = np.linspace(0, 1, 20_001)
    recovered = np.interp(calls, curve.strong_shares, curve.pgr)
    assert curve.apgr == pytest.approx(recovered.mean(), abs=1e-3)
    for part in (0.2, 0.5, 0.8):
        assert curve.cpt(part) == pytest.approx(calls[recovered >= part][0], abs=1e-4)


def test_without_a_gap_there_is_no_curve() -> None:
    """Nor has the curve a threshold beyond its ends."""
    with pytest.raises(ValueError, match="not better"):
        gap_curve([0.1, 0.2], weak=[1, 0], strong=[0, 1])
    with pytest.raises(ValueError, match="part is 0"):
        gap_curve([0.1], weak=[0], strong=[1]).cpt(0)


def test_the_first_arm_that_reaches_its_bar_takes_the_prompt() -> None:
    """The dearest takes what is left, whatever its probability."""
    probabilities = np.array([[0.9, 0.9, 0.9], [0.2, 0.9, 0.9], [0.2, 0.3, 0.1], [0.5, 0, 1]])
    assert first_good_enough(probabilities, (0.5, 0.5)).tolist() == [0, 1, 2, 0]
    assert first_good_enough(probabilities, (NEVER, ALWAYS)).tolist() == [1] * 4
    assert first_good_enough(probabilities, (NEVER, NEVER)).tolist() == [2] * 4
    assert first_good_enough(probabilities[:, :1], ()).tolist() == [0] * 4


def test_the_frontier_is_that_of_all_bars() -> None:
    """Brute force over every bar that makes a difference, with ten prompts and three arms."""
    probabilities, quality, cost_usd = arms(10, 3)
    found = set()
    for bars in itertools.product(*([*column, ALWAYS, NEVER] for column in probabilities.T[:2])):
        total_quality = total_cost = 0.0
        for row, own in enumerate(probabilities):
            arm = 0 if own[0] >= bars[0] else 1 if own[1] >= bars[1] else 2
            total_quality += quality[row, arm]
            total_cost += cost_usd[row, arm]
        found.add((total_cost * 100, total_quality / quality[:, 2].sum()))
    best = [
        one for one in found if not any(o[0] <= one[0] and o[1] >= one[1] for o in found - {one})
    ]
    points = operating_points(probabilities, quality, cost_usd)
    got = [(point.cost_usd_per_1k, point.quality) for point in points]
    assert np.array(got) == pytest.approx(np.array(sorted(best)))


@pytest.mark.parametrize("number", [2, 3, 5])
def test_points_rise_and_mean_what_they_say(number: int) -> None:
    """At most 40, the ends among them; bars lead to the quality, cost and shares."""
    probabilities, quality, cost_usd = arms(3_000, number)
    points = operating_points(probabilities, quality, cost_usd)
    assert 10 < len(points) <= MOST_POINTS
    for low, high in itertools.pairwise(points):
        assert low.cost_usd_per_1k < high.cost_usd_per_1k
        assert low.quality < high.quality
    assert points[0].shares[0] == 1
    assert points[-1].quality == pytest.approx(1, abs=0.02)
    point = points[len(points) // 2]
    rows, chosen = np.arange(3_000), first_good_enough(probabilities, point.bars)
    assert point.quality == pytest.approx(quality[rows, chosen].sum() / quality[:, -1].sum())
    assert point.cost_usd_per_1k == pytest.approx(cost_usd[rows, chosen].sum() / 3)
    assert point.shares == pytest.approx([(chosen == arm).mean() for arm in range(number)])


def test_one_arm_has_one_point() -> None:
    """Without bars."""
    (point,) = operating_points(*arms(20, 1))
    assert (point.bars, point.shares) == ((), (1,))
    assert point.quality == pytest.approx(1)


def test_tables_that_do_not_fit_are_refused() -> None:
    """Shapes, holes, an arm that is never good."""
    probabilities, quality, cost_usd = arms(4, 2)
    with pytest.raises(ValueError, match="shapes"):
        operating_points(probabilities[:3], quality, cost_usd)
    with pytest.raises(ValueError, match="shapes"):
        operating_points(*(table[:0] for table in (probabilities, quality, cost_usd)))
    with pytest.raises(ValueError, match="NaN"):
        operating_points(probabilities, np.where(quality > 0.5, np.nan, quality), cost_usd)
    with pytest.raises(ValueError, match="never good"):
        operating_points(probabilities, quality * [1, 0], cost_usd)


POINTS = tuple(
    OperatingPoint(bars=(), quality=quality, cost_usd_per_1k=cost, shares=())
    for quality, cost in ((0.5, 0.25), (0.9, 1.0), (0.98765, 4.0))
)


def test_the_knob_has_two_ends() -> None:
    """The cheapest that keeps the quality, the best within the cost."""
    assert choose(POINTS, quality=0.3) is POINTS[0]
    assert choose(POINTS, quality=0.9) is POINTS[1]
    assert choose(POINTS, quality=0.95) is POINTS[2]
    assert choose(POINTS, max_cost_per_1k=0.25) is POINTS[0]
    assert choose(POINTS, max_cost_per_1k=3.9) is POINTS[1]
    assert choose(POINTS, max_cost_per_1k=99) is POINTS[2]


def test_out_of_reach_names_what_is_in_reach() -> None:
    """And what to ask for, rounded to the side that works."""
    with pytest.raises(RouterFileError, match=r"keeps 0\.5000 to 0\.9877 .* at most 0\.9876,"):
        choose(POINTS, quality=0.99)
    with pytest.raises(RouterFileError, match=r"\$0\.2500 to \$4\.0000: allow at least 0\.2500"):
        choose(POINTS, max_cost_per_1k=0.2)


def test_the_knob_is_set_by_exactly_one_end() -> None:
    """A mistake of the caller, not of the file."""
    for points, ends in (
        (POINTS, {}),
        (POINTS, {"quality": 0.9, "max_cost_per_1k": 1.0}),
        ((), {"quality": 0.9}),
    ):
        with pytest.raises(ValueError, match="either quality or max_cost_per_1k"):
            choose(points, **ends)


@pytest.mark.parametrize("at_usd", [0.5, 1.0, 2.0, 3.5, 7.0, 9.0, 20.0])
def test_no_mix_is_better_at_the_cost(at_usd: float) -> None:
    """Brute force over the mixes of four arms, one of them dear and bad."""
    cost_usd, quality = [1.0, 3.0, 7.0, 9.0], [0.3, 0.7, 0.9, 0.6]
    mix = mix_at_cost(cost_usd, quality, at_usd=at_usd)
    assert mix.sum() == pytest.approx(1)
    assert mix.min() >= 0
    assert mix @ cost_usd <= max(at_usd, 1.0) + 1e-9
    grid = range(21)
    for parts in itertools.product(grid, grid, grid):
        if sum(parts) <= 20:
            other = np.array([*parts, 20 - sum(parts)]) / 20
            if other @ cost_usd <= at_usd:
                assert other @ quality <= mix @ quality + 1e-9
