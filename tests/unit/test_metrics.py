"""The numbers of a routing, on tables small enough to sum by hand."""

from __future__ import annotations

import numpy as np
import pytest
from semantic_router.calibration import ece

from promptyard.catalog import LongContextPrice, Price
from promptyard.names import Tier
from promptyard_worker.routing import metrics
from promptyard_worker.routing.execution import ModelConfig

PRO, FLASH, LITE = Tier

LABELS = [PRO] * 4 + [FLASH] * 3 + [LITE] * 3
DECIDED = [PRO, PRO, FLASH, LITE, FLASH, FLASH, LITE, LITE, LITE, PRO]
COUNTS = metrics.confusion(LABELS, DECIDED)


def test_confusion_has_labels_down_and_decisions_across() -> None:
    """Dearest first."""
    assert metrics.TIERS == (PRO, FLASH, LITE)
    assert COUNTS.tolist() == [[2, 1, 1], [0, 2, 1], [1, 0, 2]]
    halves = metrics.confusion([PRO, PRO], [PRO, LITE], weights=[0.5, 0.25])
    assert halves.tolist() == [[0.5, 0, 0.25], [0, 0, 0], [0, 0, 0]]


def test_each_rate_by_hand() -> None:
    """Right, too cheap and too dear make 1."""
    assert metrics.accuracy(COUNTS) == pytest.approx(0.6)
    assert metrics.under_routing(COUNTS) == pytest.approx(0.3)
    assert metrics.over_routing(COUNTS) == pytest.approx(0.1)
    assert metrics.pro_to_lite(COUNTS) == pytest.approx(1 / 4)
    assert metrics.label_shares(COUNTS) == pytest.approx([0.4, 0.3, 0.3])
    assert metrics.decided_shares(COUNTS) == pytest.approx([0.3, 0.3, 0.4])


def test_macro_f1_counts_every_tier_alike() -> None:
    """F1 of pro 4/7, flash 4/6, lite 4/7."""
    assert metrics.macro_f1(COUNTS) == pytest.approx((4 / 7 + 4 / 6 + 4 / 7) / 3)


def test_macro_f1_leaves_out_tiers_that_are_not_there() -> None:
    """As scikit-learn does; one that is decided but never right counts as 0."""
    assert metrics.macro_f1(metrics.confusion([PRO, LITE], [PRO, LITE])) == 1
    assert metrics.macro_f1(metrics.confusion([PRO, PRO], [PRO, LITE])) == pytest.approx(1 / 3)


def test_no_prompts_have_no_rates() -> None:
    """Zeros, no division by zero."""
    nothing = metrics.confusion([], [])
    for rate in (
        metrics.accuracy,
        metrics.macro_f1,
        metrics.under_routing,
        metrics.over_routing,
    ):
        assert rate(nothing) == 0
    assert metrics.pro_to_lite(nothing) is None
    assert not metrics.label_shares(nothing).any()


def test_calibration_error_by_hand() -> None:
    """Bins of equal width, weighted by their size."""
    assert metrics.calibration_error([0.9, 0.9, 0.1, 0.1], [1, 1, 0, 0]) == pytest.approx(0.1)
    assert metrics.calibration_error([1.0, 1.0], [1, 0]) == pytest.approx(0.5)
    assert metrics.calibration_error([0.75, 0.75], [1, 0.5]) == pytest.approx(0)
    assert metrics.calibration_error([0.1, 0.9], [1, 0], bins=1) == pytest.approx(0)
    assert metrics.calibration_error([], []) is None


def test_calibration_error_is_the_librarys() -> None:
    """On tables of any shape."""
    rng = np.random.default_rng(3)
    stated = rng.random((500, 3))
    truth = rng.random((500, 3)) < stated**2
    expected = ece(stated.ravel(), truth.ravel())
    assert metrics.calibration_error(stated, truth) == pytest.approx(expected)


def test_costs_are_those_of_decisions() -> None:
    """Prompt at the input price, a usual answer at the output price, long prompts dearer."""
    long = LongContextPrice(input=2, output=20, above_tokens=1000)
    dear = ModelConfig(
        tier=PRO,
        price=Price(input=1, output=10, long_context=long),
        context_window=10_000,
        typical_output_tokens=100,
        timeout_s=1,
    )
    cheap = ModelConfig(
        tier=LITE, price=Price(input=0.1, output=0.4), context_window=10_000, timeout_s=1
    )
    costs = metrics.costs_usd([1000, 2000], [cheap, dear])
    assert costs == pytest.approx(np.array([[0.0003, 0.002], [0.0004, 0.006]]))
    assert metrics.costs_usd([], [cheap, dear]).shape == (0, 2)


def test_a_tier_is_good_enough_from_the_label_up() -> None:
    """Columns in the order that is asked for."""
    table = metrics.tier_quality([PRO, FLASH, LITE], [LITE, FLASH, PRO])
    assert table.tolist() == [[0, 0, 1], [0, 1, 1], [1, 1, 1]]
