"""Fits the learned router: scikit-learn here, numpy wherever it is used.

Each head is a logistic regression on its own (``model.py`` says what heads say). From
outcomes, an answer that loses 0.3 beside the dearest arm's counts as seven good ones in ten.
Heads for the splits between tiers (ordinal regression: Frank and Hall, 2001) were tried, and
are 1 to 2 points less accurate: the middle tier lies on no side of a plane.

Prompts are dealt into folds, whole sources together where lines name their source. Each fold
is judged by heads that have not seen it: these predictions calibrate the probabilities, set
the bars and make the operating points. The report measures each fold by a calibration and
bars that the others set. What is written is fitted on everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from promptyard_worker.routing.curve import ALWAYS, NEVER, first_good_enough
from promptyard_worker.routing.learned.features import BUCKETS, Features
from promptyard_worker.routing.learned.model import Heads, standardised

Floats = NDArray[np.float64]

#: Inverse strength of the ridge penalty, chosen by leaving sources out (docs/routing.md).
RIDGE_C: Final = 8.0
#: An n-gram must be in so many texts to get a weight.
LEAST_TEXTS: Final = 3
#: Weight of a standardised dense feature beside an n-gram, chosen the same way.
SURFACE_SCALE: Final = 0.1
VECTOR_SCALE: Final = 0.05
FOLDS: Final = 5
_TRIED_BARS: Final = 99
_MIDDLE: Final = 0.5
_SWEEPS: Final = 4


@dataclass(frozen=True)
class Scaling:
    """How dense features are standardised."""

    mean: NDArray[np.float32]
    inverse_deviation: NDArray[np.float32]
    #: The scale of each column.
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, features: Features) -> Scaling:
        """Of the training set."""
        dense = features.dense
        deviation = np.maximum(dense.std(axis=0), 1e-6)
        widths = [features.surface.shape[1], features.vectors.shape[1]]
        scale = np.repeat([SURFACE_SCALE, VECTOR_SCALE], widths)
        return cls(
            dense.mean(axis=0).astype(np.float32),
            (1 / deviation).astype(np.float32),
            scale.astype(np.float32),
        )

    def apply(self, features: Features) -> NDArray[np.float32]:
        """The dense features as the regressions see them."""
        return np.asarray(standardised(features, self.mean, self.inverse_deviation) * self.scale)


class HeadFitter:
    """Fits the heads of a training set, whole or in part."""

    def __init__(self, features: Features, truth: Floats) -> None:
        """Lay the training set out.

        Args:
            features: of every prompt.
            truth: what each head shall say of it, [n, heads], 0 to 1.
        """
        grams = features.grams
        shape = (len(truth), BUCKETS)
        all_grams = csr_matrix((grams.values, (grams.rows, grams.columns)), shape=shape)
        texts = np.bincount(grams.columns, minlength=BUCKETS)
        self._kept = np.flatnonzero(texts >= LEAST_TEXTS)
        self._scaling = Scaling.of(features)
        dense = csr_matrix(self._scaling.apply(features))
        self._table = hstack([all_grams[:, self._kept], dense]).tocsr()
        self._truth = truth

    def out_of_fold(self, folds: NDArray[np.int64], contents: Sequence[str]) -> Floats:
        """The sums of every prompt by heads that have not seen its fold, [n, heads].

        Nor its like: a prompt that two sources share is seen for neither.
        """
        sums = np.zeros_like(self._truth)
        _, twins = np.unique(np.array(contents, dtype=object), return_inverse=True)
        for fold in np.unique(folds):
            unseen = folds == fold
            seen = np.flatnonzero(~np.isin(twins, twins[unseen]))
            for head in range(self._truth.shape[1]):
                weights, intercept = self._regress(head, seen)
                sums[unseen, head] = self._table[unseen] @ weights + intercept
        return sums

    def heads(self, slope: Floats, offset: Floats) -> Heads:
        """Heads fitted on everything, with the calibration of those that were not."""
        everything = np.arange(len(self._truth))
        fitted = [self._regress(head, everything) for head in range(self._truth.shape[1])]
        weights = np.stack([weights for weights, _ in fitted], axis=1)
        gram_weights, dense = np.split(weights, [len(self._kept)])
        gram_scale = np.maximum(np.abs(gram_weights).max(axis=0, initial=0), 1e-9) / 127
        grams = np.zeros((BUCKETS, len(fitted)), dtype=np.int8)
        grams[self._kept] = np.rint(gram_weights / gram_scale).astype(np.int8)
        return Heads(
            grams=grams,
            gram_scale=gram_scale.astype(np.float32),
            dense=(dense * self._scaling.scale[:, None]).astype(np.float32),
            mean=self._scaling.mean,
            inverse_deviation=self._scaling.inverse_deviation,
            intercept=np.array([intercept for _, intercept in fitted], dtype=np.float32),
            slope=slope.astype(np.float32),
            offset=offset.astype(np.float32),
        )

    def _regress(self, head: int, rows: NDArray[np.int64]) -> tuple[Floats, float]:
        """Weights and intercept of one head on some rows."""
        truth = self._truth[rows, head]
        # A prompt that is true with probability p is p true ones and 1 - p false ones.
        yes, no = np.flatnonzero(truth > 0), np.flatnonzero(truth < 1)
        table = self._table[np.concatenate([rows[yes], rows[no]])]
        labels = np.repeat([1, 0], [len(yes), len(no)])
        counts = np.concatenate([truth[yes], 1 - truth[no]])
        if len(yes) == 0 or len(no) == 0:  # always or never: the intercept says it all
            return np.zeros(table.shape[1]), 8.0 if len(yes) else -8.0
        regression = LogisticRegression(C=RIDGE_C, solver="liblinear", random_state=0)
        regression.fit(table, labels, sample_weight=counts)
        return np.asarray(regression.coef_[0]), float(regression.intercept_[0])


def deal(groups: Sequence[str], contents: Sequence[str]) -> NDArray[np.int64]:
    """A fold for each prompt: equal groups together; prompts without one by their content.

    Larger groups are dealt first, each to the smallest fold so far.
    """
    names = [group or f"\0{content}" for group, content in zip(groups, contents, strict=True)]
    sizes: dict[str, int] = {}
    for name in names:
        sizes[name] = sizes.get(name, 0) + 1
    filled = [0] * FOLDS
    fold_of: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold_of[name] = filled.index(min(filled))
        filled[fold_of[name]] += sizes[name]
    return np.array([fold_of[name] for name in names], dtype=np.int64)


def calibration(sums: Floats, truth: Floats) -> tuple[float, float]:
    """Platt's slope and offset for one head (Platt, 1999): a regression on its own sums."""
    if not truth.any() or not (1 - truth).any():
        return 1.0, 0.0
    labels = np.repeat([1, 0], len(sums))
    regression = LogisticRegression(C=1e6, random_state=0)
    regression.fit(
        np.concatenate([sums, sums])[:, None],
        labels,
        sample_weight=np.concatenate([truth, 1 - truth]),
    )
    slope = float(regression.coef_[0, 0])
    if slope > 0:
        return slope, float(regression.intercept_[0])
    # a falling curve would prefer what is less likely true: say the base rate instead
    share = float(np.clip(truth.mean(), 1e-3, 1 - 1e-3))
    return 0.0, float(np.log(share / (1 - share)))


def least_loss(probabilities: Floats, losses: Floats) -> tuple[float, ...]:
    """Bars that lose least, one after the other until none gets better.

    Of bars that lose alike, as in the gap between what is told apart with ease, that which is
    nearest to the middle.
    """
    bars = [_MIDDLE] * (probabilities.shape[1] - 1)
    rows = np.arange(len(losses))
    quantiles = np.linspace(0.01, 0.99, _TRIED_BARS)
    for _ in range(_SWEEPS):
        before = list(bars)
        for place in range(len(bars)):
            lost = {}
            own = np.quantile(probabilities[:, place], quantiles).tolist()
            for bar in (ALWAYS, _MIDDLE, NEVER, *own):
                trial = [*bars[:place], bar, *bars[place + 1 :]]
                lost[bar] = float(losses[rows, first_good_enough(probabilities, trial)].sum())
            bars[place] = min(lost, key=lambda bar: (lost[bar], abs(bar - _MIDDLE)))
        if bars == before:
            break
    return tuple(bars)
