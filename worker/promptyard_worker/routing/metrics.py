"""How well prompts were routed, in numbers.

Most functions read a table of counts, as ``confusion`` makes it: rows are labels, columns are
decisions, both in the order of ``Tier``, dearest first. The counts may be fractions: the
expected counts of a routing that throws dice. Rates are 0 to 1; of no prompts they are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from promptyard.job import Usage
from promptyard.names import Tier

if TYPE_CHECKING:
    from promptyard_worker.routing.execution import ModelConfig

Floats = NDArray[np.float64]

#: Of the rows and columns of a table of counts.
TIERS: Final = tuple(Tier)
_RANK: Final = {tier: rank for rank, tier in enumerate(TIERS)}

_PRO: Final = _RANK[Tier.PRO]
_LITE: Final = _RANK[Tier.LITE]


def ranks(tiers: Sequence[Tier]) -> NDArray[np.intp]:
    """Places of tiers in ``TIERS``: 0 is the dearest."""
    return np.array([_RANK[tier] for tier in tiers], dtype=np.intp)


def confusion(
    labels: Sequence[Tier], decided: Sequence[Tier], *, weights: ArrayLike = 1.0
) -> Floats:
    """How many prompts of each label (rows) went to each tier (columns).

    Args:
        labels: the tier each prompt deserves.
        decided: the tier each prompt went to.
        weights: what each prompt counts.
    """
    counts = np.zeros((len(TIERS), len(TIERS)))
    np.add.at(counts, (ranks(labels), ranks(decided)), weights)
    return counts


def accuracy(counts: Floats) -> float:
    """Share of the prompts that went to the tier of their label."""
    return _share(np.trace(counts), counts.sum())


def macro_f1(counts: Floats) -> float:
    """Mean over the tiers of F1 = 2 TP / (2 TP + FP + FN), each tier counting alike.

    The "averaged F1" of Opitz and Burst 2019 (arXiv 1911.03347), and scikit-learn's
    ``f1_score(average="macro")``: tiers that neither labels nor decisions have are left out.
    """
    hits = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    here = either > 0
    return float((2 * hits[here] / either[here]).mean()) if here.any() else 0.0


def under_routing(counts: Floats) -> float:
    """Share of the prompts that went to a cheaper tier than their label.

    With ``over_routing`` and ``accuracy`` it makes 1.
    """
    return _share(np.triu(counts, 1).sum(), counts.sum())


def over_routing(counts: Floats) -> float:
    """Share of the prompts that went to a dearer tier than their label."""
    return _share(np.tril(counts, -1).sum(), counts.sum())


def pro_to_lite(counts: Floats) -> float | None:
    """Share of the *pro* prompts that went to lite, the worst of the under-routings.

    None without a pro prompt.
    """
    pros = counts[_PRO].sum()
    return float(counts[_PRO, _LITE] / pros) if pros else None


def label_shares(counts: Floats) -> Floats:
    """Share of the prompts that each tier deserves, in the order of ``TIERS``."""
    return np.asarray(counts.sum(axis=1) / (counts.sum() or 1.0))


def decided_shares(counts: Floats) -> Floats:
    """Share of the prompts that each tier gets, in the order of ``TIERS``."""
    return np.asarray(counts.sum(axis=0) / (counts.sum() or 1.0))


def calibration_error(
    probabilities: ArrayLike, came_true: ArrayLike, *, bins: int = 10
) -> float | None:
    """Expected calibration error: how far probabilities are from what came true, on average.

    The probabilities are sorted into bins of equal width; the error is the mean distance of
    a bin's mean probability from its share that came true, weighted by the bin's size (Guo et
    al. 2017, arXiv 1706.04599, equation 3; ``semantic_router.calibration.ece`` is the same).

    Args:
        probabilities: 0 to 1.
        came_true: what each was the probability of: 1 if it was so, 0 if not; or a part of 1.
        bins: how many.

    Returns:
        The error; None if there are no probabilities.
    """
    stated = np.asarray(probabilities, dtype=np.float64).ravel()
    truth = np.asarray(came_true, dtype=np.float64).ravel()
    if not stated.size:
        return None
    bin_of = np.clip((stated * bins).astype(np.intp), 0, bins - 1)
    gaps = np.bincount(bin_of, weights=stated - truth, minlength=bins)
    return float(np.abs(gaps).sum() / stated.size)


def costs_usd(prompt_tokens: Sequence[int], models: Sequence[ModelConfig]) -> Floats:
    """What each prompt (rows) would cost on each model (columns), in US dollars.

    By the prices of router.yaml and its estimate of a usual answer, as
    ``Decision.estimated_cost_usd`` has it.
    """
    return np.array(
        [
            [
                model.price.cost_usd(
                    Usage(prompt_tokens=tokens, output_tokens=model.typical_output_tokens)
                )
                for model in models
            ]
            for tokens in prompt_tokens
        ],
        dtype=np.float64,
    ).reshape(len(prompt_tokens), len(models))


def tier_quality(labels: Sequence[Tier], arms: Sequence[Tier]) -> Floats:
    """Whether each tier (columns) is good enough for each prompt (rows): 1 or 0.

    A tier is, if it is the prompt's label or a dearer one.
    """
    return (ranks(arms)[None, :] <= ranks(labels)[:, None]).astype(np.float64)


def nearly_as_good(quality: Floats) -> Floats:
    """How nearly each arm but the dearest does what the dearest does, [n, arms - 1], 0 to 1.

    1 where nothing is lost by taking it: where both fail, the cheaper one is good enough.
    """
    return np.asarray(1 - np.clip(quality[:, -1:] - quality[:, :-1], 0, 1))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
