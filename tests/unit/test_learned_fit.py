"""Folds, heads, calibration and bars of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from promptyard.names import Tier
from promptyard_worker.fitting import FAR_TOO_LOW
from promptyard_worker.routing.curve import first_good_enough
from promptyard_worker.routing.learned.fit import FOLDS, HeadFitter, calibration, deal, least_loss
from promptyard_worker.routing.learned.model import sigmoid
from tests.unit.test_fitting import of, prompts


def test_folds_keep_together_what_belongs_together() -> None:
    """Sources, and equal prompts without one; about evenly, whatever the order."""
    groups = ["a"] * 30 + ["b"] * 20 + [""] * 50
    contents = [str(number // 2) for number in range(100)]
    folds = deal(groups, contents)
    for rows in (range(30), range(30, 50), *([n, n + 1] for n in range(50, 100, 2))):
        assert len({int(folds[row]) for row in rows}) == 1
    sizes = np.bincount(folds)
    assert (len(sizes), sizes.min() >= 16) == (FOLDS, True)
    assert deal(groups[::-1], contents[::-1]).tolist() == folds.tolist()[::-1]


def test_the_file_holds_the_weights_in_a_byte_each() -> None:
    """Rounded, it says what the regressions say."""
    pairs = prompts(120)
    seen = of([text for text, _ in pairs])
    truth = np.array([[float(tier is Tier.LITE), float(tier is Tier.PRO)] for _, tier in pairs])
    fitter = HeadFitter(seen, truth)
    heads = fitter.heads(np.ones(2), np.zeros(2))
    everything = np.arange(len(pairs))
    for head in range(2):
        weights, intercept = fitter._regress(head, everything)
        exact = fitter._table @ weights + intercept
        assert heads.sums(seen)[:, head] == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize(("slope", "offset"), [(0.5, 1.0), (3.0, -2.0)])
def test_calibration_finds_the_curve(slope: float, offset: float) -> None:
    """From parts, and from what came true."""
    sums = np.linspace(-3, 3, 400)
    likely = sigmoid(slope * sums + offset)
    assert calibration(sums, likely) == pytest.approx((slope, offset), abs=1e-2)
    came_true = (np.random.default_rng(0).random(400) < likely).astype(float)
    assert calibration(sums, came_true) == pytest.approx((slope, offset), abs=0.8)


def test_a_head_that_is_worse_than_chance_says_the_base_rate() -> None:
    """Never that what it takes for likely is unlikely."""
    sums = np.linspace(-3, 3, 400)
    slope, offset = calibration(sums, 0.2 * sigmoid(-sums))
    assert slope == 0
    assert sigmoid(np.array(offset)) == pytest.approx(0.1)


@pytest.mark.parametrize("always", [0.0, 1.0])
def test_what_is_always_so_needs_no_head(always: float) -> None:
    """Nor does what never is."""
    texts = [text for text, _ in prompts(40)]
    fitter = HeadFitter(of(texts), np.full((40, 1), always))
    sums = fitter.out_of_fold(np.arange(40) % 5, texts)
    slope, offset = calibration(sums[:, 0], np.full(40, always))
    stated = fitter.heads(np.array([slope]), np.array([offset])).probabilities(of(texts))
    assert stated == pytest.approx(np.full((40, 1), always), abs=1e-3)


def test_bars_lose_least() -> None:
    """Nearest to the middle where that is all one; two tiers too low is worse than too dear."""
    apart = np.array([[0.1, 1], [0.2, 1], [0.97, 1], [0.98, 1]])
    right = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert least_loss(apart, right) == (0.5,)
    assert 0.1 < least_loss(apart * [0.3, 1], right)[0] <= 0.3
    unsure = np.tile([0.6, 0.6, 1], (50, 1))
    for loss, arm in ((1.0, 0), (FAR_TOO_LOW, 2)):
        losses = np.tile([0.4 * loss, 1, 0.6], (50, 1))
        bars = least_loss(unsure + np.linspace(-0.01, 0.01, 50)[:, None] * [1, 1, 0], losses)
        taken = first_good_enough(unsure, bars)
        assert set(taken.tolist()) == {arm}
