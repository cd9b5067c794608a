"""Cost against quality: what a router gains, and where to set its bars.

Two views. ``gap_curve`` is RouteLLM's, for one strong and one weak model: how much of the gap
between them is recovered by how many calls to the strong one. ``operating_points`` is for any
number of arms (models or tiers) under the rule by which the learned stage decides: the
cheapest arm whose probability of being good enough reaches its bar.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptyard.errors import RouterFileError

Floats = NDArray[np.float64]

#: A bar that every probability reaches.
ALWAYS: Final = 0.0
#: A bar that no probability reaches.
NEVER: Final = 2.0
#: Most operating points that are kept of a frontier.
MOST_POINTS: Final = 40
#: Most combinations of bars that are tried; with many arms the grid is coarse.
_MOST_TRIALS: Final = 2_500
#: Most bars that are tried for one arm.
_MOST_BARS: Final = 200
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, eq=False)
class GapCurve:
    """Part of the gap between two models that is recovered, by share of calls to the strong."""

    #: Share of the calls that go to the strong model, from 0 to 1, rising.
    strong_shares: Floats
    #: Performance gap recovered at that share: 0 the weak model's quality, 1 the strong one's.
    pgr: Floats

    @property
    def apgr(self) -> float:
        """Average performance gap recovered: the area under the curve; 0.5 by chance.

        A perfect router has 1 - g / 2 where a part g of the prompts needs the strong model
        and the others are indifferent; more, even above 1, where some need the weak one.
        """
        return float(np.trapezoid(self.pgr, self.strong_shares))

    def cpt(self, part: float) -> float:
        """Call-performance threshold: the least share of strong calls that recovers ``part``.

        Args:
            part: of the gap, above 0 and at most 1; 0.5 gives CPT(50 %).
        """
        if not 0 < part <= 1:
            raise ValueError(f"part is {part:g}: give one above 0 and at most 1")
        after = int(np.argmax(self.pgr >= part - _ROUNDING))
        low, high = self.pgr[after - 1], self.pgr[after]
        shares = self.strong_shares[after - 1 : after + 1]
        way = min((part - low) / (high - low), 1.0)
        return float(shares[0] + way * (shares[1] - shares[0]))


def gap_curve(strong_wins: ArrayLike, *, weak: ArrayLike, strong: ArrayLike) -> GapCurve:
    """The cost-quality curve of a router between two models.

    As RouteLLM defines it (Ong et al. 2024, arXiv 2406.18665, section 2): with r the mean
    quality and c the share of strong calls, PGR = (r(router) - r(weak)) / (r(strong) -
    r(weak)), APGR is the integral of PGR over c. The paper sums ten cutoffs; here every
    cutoff counts, so that nothing hangs on where ten would fall. Prompts of equal score are
    one step: no cutoff divides them, and the line between is a choice by chance among them.

    Args:
        strong_wins: the router's score of each prompt: higher goes to the strong model first.
        weak: quality of the weak model's answer to each prompt.
        strong: quality of the strong model's.

    Raises:
        ValueError: the strong model is not better than the weak one: there is no gap.
    """
    scores = np.asarray(strong_wins, dtype=np.float64)
    gains = np.asarray(strong, dtype=np.float64) - np.asarray(weak, dtype=np.float64)
    total = gains.sum()
    if not total > _ROUNDING:
        raise ValueError("the strong model is not better than the weak one: there is no gap")
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) + 1
    recovered = np.cumsum(gains[order])[ends - 1] / total
    recovered[-1] = 1.0  # whatever the rounding
    return GapCurve(np.concatenate(([0.0], ends / len(scores))), np.concatenate(([0.0], recovered)))


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Bars, and what they lead to."""

    #: Least probability at which an arm takes a prompt; cheapest arm first, none for the dearest.
    bars: tuple[float, ...]
    #: Mean quality, as a part of the dearest arm's.
    quality: float
    cost_usd_per_1k: float
    #: Share of the prompts that each arm takes, cheapest first.
    shares: tuple[float, ...]


def first_good_enough(probabilities: Floats, bars: Sequence[float]) -> NDArray[np.intp]:
    """The arm that takes each prompt: the first whose probability reaches its bar.

    Args:
        probabilities: that an arm (columns, cheapest first) is good enough for a prompt (rows);
            the dearest arm's are not looked at, it takes what is left.
        bars: one an arm, the dearest aside.
    """
    reached = np.ones(probabilities.shape, dtype=np.bool_)
    reached[:, :-1] = probabilities[:, :-1] >= np.asarray(bars, dtype=np.float64)
    return np.asarray(reached.argmax(axis=1))


def operating_points(
    probabilities: Floats, quality: Floats, cost_usd: Floats
) -> tuple[OperatingPoint, ...]:
    """The bars worth having: each point costs less than any that is better.

    Quantiles of the probabilities are tried as bars, and to take always or never.

    Args:
        probabilities: that an arm (columns, cheapest first) is good enough for a prompt (rows).
        quality: how good the arm is for the prompt, 0 to 1.
        cost_usd: what the arm would cost for the prompt.

    Returns:
        At most 40 points, cheapest first, the ends of the frontier among them.

    Raises:
        ValueError: the tables differ in shape, are empty or hold NaN, or the dearest arm is
            never good.
    """
    _check(probabilities, quality, cost_usd)
    best = quality[:, -1].mean()
    points = [
        _measured(bars, probabilities, quality / best, cost_usd) for bars in _grid(probabilities)
    ]
    return _thinned(_frontier(points))


def choose(
    points: Sequence[OperatingPoint],
    *,
    quality: float | None = None,
    max_cost_per_1k: float | None = None,
) -> OperatingPoint:
    """Set the knob, by one of its ends.

    Args:
        points: as ``operating_points`` gives them.
        quality: the cheapest point that keeps this part of the dearest arm's quality.
        max_cost_per_1k: the best point that costs at most this, in US dollars.

    Raises:
        RouterFileError: no point does; the message names the range that can be had.
        ValueError: not exactly one end is given, or there are no points.
    """
    if (quality is None) == (max_cost_per_1k is None) or not points:
        raise ValueError("give some points, and either quality or max_cost_per_1k")
    cheapest = min(points, key=lambda point: point.cost_usd_per_1k)
    best = max(points, key=lambda point: point.quality)
    if quality is not None:
        good = [point for point in points if point.quality >= quality - _ROUNDING]
        if good:
            return min(good, key=lambda point: (point.cost_usd_per_1k, -point.quality))
        raise RouterFileError(
            f"quality: {quality:g} cannot be kept. The fitted router keeps "
            f"{cheapest.quality:.4f} to {best.quality:.4f} of the dearest arm's quality: "
            f"ask for at most {_down(best.quality)}, or fit a better router."
        )
    limit = float(max_cost_per_1k or 0.0)
    cheap = [p for p in points if p.cost_usd_per_1k <= limit * (1 + _ROUNDING)]
    if cheap:
        return max(cheap, key=lambda point: (point.quality, -point.cost_usd_per_1k))
    raise RouterFileError(
        f"max_cost_per_1k: {limit:g} is too little. By the estimates, 1,000 prompts cost "
        f"${cheapest.cost_usd_per_1k:.4f} to ${best.cost_usd_per_1k:.4f}: allow at least "
        f"{_up(cheapest.cost_usd_per_1k)}."
    )


def mix_at_cost(cost_usd: Sequence[float], quality: Sequence[float], *, at_usd: float) -> Floats:
    """The best mix by chance that costs no more: which share of the prompts each arm gets.

    Two arms at most have one: the best mix lies on the upper hull of the arms.

    Args:
        cost_usd: mean cost of each arm.
        quality: mean quality of each arm.
        at_usd: mean cost of the mix; below the cheapest arm's, it is that arm alone.
    """
    mixes = [np.eye(len(cost_usd))[int(np.argmin(cost_usd))]]
    for cheap, dear in itertools.permutations(range(len(cost_usd)), 2):
        if cost_usd[cheap] <= at_usd and cost_usd[dear] > cost_usd[cheap]:
            share = min((at_usd - cost_usd[cheap]) / (cost_usd[dear] - cost_usd[cheap]), 1.0)
            mix = np.zeros(len(cost_usd))
            mix[[cheap, dear]] = 1 - share, share
            mixes.append(mix)
    return max(mixes, key=lambda mix: float(mix @ np.asarray(quality)))


def _check(probabilities: Floats, quality: Floats, cost_usd: Floats) -> None:
    tables = (probabilities, quality, cost_usd)
    if len({table.shape for table in tables}) != 1 or not probabilities.size:
        raise ValueError(f"the shapes are {[table.shape for table in tables]}: make them one")
    if any(np.isnan(table).any() for table in tables):
        raise ValueError("there are NaN: leave those prompts out (Labelled.complete)")
    if quality[:, -1].mean() <= 0:
        raise ValueError("the dearest arm is never good: no part of its quality can be kept")


def _grid(probabilities: Floats) -> Iterator[tuple[float, ...]]:
    """The combinations of bars to try."""
    arms = probabilities.shape[1] - 1
    number = min(_MOST_BARS, int(_MOST_TRIALS ** (1 / max(arms, 1)))) - 2
    inner = np.linspace(0, 1, max(number, 1) + 2)[1:-1]
    bars = [
        (ALWAYS, *np.unique(np.quantile(column, inner)).tolist(), NEVER)
        for column in probabilities[:, :-1].T
    ]
    return itertools.product(*bars)


def _measured(
    bars: tuple[float, ...], probabilities: Floats, quality: Floats, cost_usd: Floats
) -> OperatingPoint:
    chosen = first_good_enough(probabilities, bars)
    rows = np.arange(len(chosen))
    shares = np.bincount(chosen, minlength=probabilities.shape[1]) / len(chosen)
    return OperatingPoint(
        bars=bars,
        quality=float(quality[rows, chosen].mean()),
        cost_usd_per_1k=float(cost_usd[rows, chosen].mean() * 1000),
        shares=tuple(shares.tolist()),
    )


def _frontier(points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """Those that no other point beats or equals at no more cost, cheapest first."""
    kept: list[OperatingPoint] = []
    for point in sorted(points, key=lambda point: (point.cost_usd_per_1k, -point.quality)):
        if not kept or point.quality > kept[-1].quality + _ROUNDING:
            kept.append(point)
    return kept


def _thinned(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """At most ``MOST_POINTS``, evenly along the frontier."""
    if len(points) <= MOST_POINTS:
        return tuple(points)
    walked = np.zeros(len(points))
    for values in ([p.cost_usd_per_1k for p in points], [p.quality for p in points]):
        walked += (np.array(values) - values[0]) / (values[-1] - values[0])
    stops = np.linspace(0, walked[-1], MOST_POINTS)
    picked = np.abs(walked[None, :] - stops[:, None]).argmin(axis=1)
    return tuple(points[i] for i in np.unique(picked))


def _down(value: float) -> str:
    return f"{np.floor(value * 1e4) / 1e4:.4f}"


def _up(value: float) -> str:
    return f"{np.ceil(value * 1e4) / 1e4:.4f}"
