"""Fits the learned router to labelled prompts, and says how it does on unseen ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptyard.errors import InputError
from promptyard.job import Decision
from promptyard.names import Tier
from promptyard_worker.evaluation import Evaluation, assess
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.curve import (
    ALWAYS,
    OperatingPoint,
    choose,
    first_good_enough,
    operating_points,
)
from promptyard_worker.routing.embedding import ReadingEmbedder, build_embedder
from promptyard_worker.routing.labelled import Labelled, content_key
from promptyard_worker.routing.learned.features import Features, features, joined
from promptyard_worker.routing.learned.fit import HeadFitter, calibration, deal, least_loss
from promptyard_worker.routing.learned.model import (
    FitReport,
    FittedRouter,
    encoder_identity,
    good_enough,
    sigmoid,
)
from promptyard_worker.routing.metrics import nearly_as_good
from promptyard_worker.routing.reading import Reading, pieces_of
from promptyard_worker.routing.services import Services
from promptyard_worker.yardstick import Yardstick

Floats = NDArray[np.float64]

#: Fewer labelled prompts teach nothing.
LEAST_PROMPTS: Final = 30
#: Part of the dearest arm's quality that the bars keep by default, where labels are outcomes.
DEFAULT_QUALITY: Final = 0.95
#: What a prompt costs that goes two tiers too low, beside any other error's 1.
FAR_TOO_LOW: Final = 3.0
#: Prompts whose features are made at once.
_CHUNK: Final = 256


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted router, and how its like did on what it had not seen."""

    fitted: FittedRouter
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class _Tuning:
    """What is set by predictions of unseen prompts."""

    slope: Floats
    offset: Floats
    points: tuple[OperatingPoint, ...]
    bars: tuple[float, ...]


def fit(config: RouterConfig, labelled: Labelled, services: Services | None = None) -> Fit:
    """Fit to labelled prompts.

    Args:
        config: its encoder embeds, its models price, its tiers or models are the arms.
        labelled: prompts with a tier or with scores.
        services: for an encoder that calls out.

    Raises:
        InputError: the labels teach nothing: too few prompts, fewer than two arms.
    """
    yardstick = _readable(Yardstick.of(labelled, config))
    labelled = yardstick.labelled
    contents = [content_key(job) for job in labelled.jobs]
    _refuse_too_little(yardstick, different=len(set(contents)))
    embedder = build_embedder(config, services or Services())
    start_s = time.perf_counter()
    truth = _truth(yardstick)
    fitter = HeadFitter(_features(config, labelled, embedder), truth)
    by_source = len(set(filter(None, labelled.sources))) > 1
    folds = deal(labelled.sources if by_source else [""] * len(labelled), contents)
    sums = fitter.out_of_fold(folds, contents)
    decisions = _decisions(yardstick, *_unseen(yardstick, truth, sums, folds))
    evaluation = _assessed(yardstick, decisions, services, time.perf_counter() - start_s)
    tuning = _tune(yardstick, truth, sums)
    fitted = FittedRouter(
        arms=yardstick.arms,
        nested=labelled.tiers is not None,
        encoder=encoder_identity(config.encoder, embedder.dimensions),
        heads=fitter.heads(tuning.slope, tuning.offset),
        bars=tuning.bars,
        points=tuning.points,
        report=_report(evaluation, by_source=by_source),
    )
    return Fit(fitted, evaluation)


def _readable(yardstick: Yardstick) -> Yardstick:
    """Without the prompts that have no text: the learned stage leaves them open."""
    turns, jobs = yardstick.config.context_turns, yardstick.labelled.jobs
    requests = [Reading.of(job, context_turns=turns).request for job in jobs]
    rows = np.array([row for row, text in enumerate(requests) if text.strip()], dtype=np.intp)
    if not (missing := len(jobs) - len(rows)):
        return yardstick
    remark = f"{missing:,} prompts left out: there is no text in them"
    return replace(_part(yardstick, rows), remarks=(*yardstick.remarks, remark))


def _refuse_too_little(yardstick: Yardstick, *, different: int) -> None:
    if different < LEAST_PROMPTS or len(yardstick.arms) < 2:
        raise InputError(
            f"There are {different} different labelled prompts for {len(yardstick.arms)} arms: "
            f"give at least {LEAST_PROMPTS} prompts, and labels of two tiers or models that the "
            f"router file has."
        )
    tiers = yardstick.labelled.tiers
    if tiers is not None and len(set(tiers)) < 2:
        raise InputError(
            f"Every prompt is labelled {tiers[0]}: there is nothing to tell apart. Add prompts "
            f"of another tier."
        )
    if not yardstick.quality[:, -1].any():
        raise InputError(
            f"{yardstick.arms[-1]}, the dearest, is never good enough: nothing is lost by the "
            f"cheapest. Correct the labels, or the prices of the router file."
        )


def _features(config: RouterConfig, labelled: Labelled, embedder: ReadingEmbedder) -> Features:
    parts = []
    for start in range(0, len(labelled), _CHUNK):
        jobs = labelled.jobs[start : start + _CHUNK]
        readings = [Reading.of(job, context_turns=config.context_turns) for job in jobs]
        parts.append(features(pieces_of(readings), embedder.embed(readings)))
    return joined(parts)


def _truth(yardstick: Yardstick) -> Floats:
    """What each head shall say of each prompt, 0 to 1 (``learned.model``)."""
    if yardstick.labelled.tiers is None:
        return nearly_as_good(yardstick.quality)
    return np.eye(len(yardstick.arms))[_cheapest_good(yardstick)]


def _cheapest_good(yardstick: Yardstick) -> NDArray[np.intp]:
    """The cheapest arm that is good enough for each prompt, else the dearest; of tier labels."""
    good = yardstick.quality.copy()
    good[:, -1] = 1
    return np.asarray(good.argmax(axis=1))


def _unseen(
    yardstick: Yardstick, truth: Floats, sums: Floats, folds: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.intp]]:
    """Probabilities and arms of every prompt, by a calibration and bars that other folds set."""
    probabilities = np.zeros_like(yardstick.quality)
    arms = np.zeros(len(folds), dtype=np.intp)
    for fold in np.unique(folds):
        rows, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        tuning = _tune(_part(yardstick, others), truth[others], sums[others])
        probabilities[rows] = _probabilities(yardstick, sums[rows], tuning.slope, tuning.offset)
        arms[rows] = first_good_enough(probabilities[rows], tuning.bars)
    return probabilities, arms


def _part(yardstick: Yardstick, rows: NDArray[np.intp]) -> Yardstick:
    return replace(
        yardstick,
        labelled=yardstick.labelled.part(rows.tolist()),
        quality=yardstick.quality[rows],
        cost_usd=yardstick.cost_usd[rows],
    )


def _tune(yardstick: Yardstick, truth: Floats, sums: Floats) -> _Tuning:
    maps = [calibration(*pair) for pair in zip(sums.T, truth.T, strict=True)]
    slope, offset = np.array(maps).T
    found = _probabilities(yardstick, sums, slope, offset)
    if not yardstick.quality[:, -1].any():  # of these prompts; nothing is lost by the cheapest
        return _Tuning(slope, offset, (), (ALWAYS,) * (len(yardstick.arms) - 1))
    points = operating_points(found, yardstick.quality, yardstick.cost_usd)
    return _Tuning(slope, offset, points, _bars(yardstick, found, points))


def _probabilities(yardstick: Yardstick, sums: Floats, slope: Floats, offset: Floats) -> Floats:
    found = sigmoid(slope * sums + offset)
    return good_enough(found, nested=yardstick.labelled.tiers is not None)


def _bars(
    yardstick: Yardstick, probabilities: Floats, points: Sequence[OperatingPoint]
) -> tuple[float, ...]:
    """The bars without a knob: fewest errors for tiers, 95 % of the quality for outcomes."""
    if yardstick.labelled.tiers is None:
        best = max(point.quality for point in points)
        return choose(points, quality=min(DEFAULT_QUALITY, best)).bars
    away = np.arange(len(yardstick.arms))[None, :] - _cheapest_good(yardstick)[:, None]
    return least_loss(probabilities, np.where(away <= -2, FAR_TOO_LOW, (away != 0).astype(float)))


def _decisions(
    yardstick: Yardstick, probabilities: Floats, taken: NDArray[np.intp]
) -> list[Decision]:
    """What the learned stage would have decided."""
    config, arms = yardstick.config, yardstick.arms
    decisions = []
    for row, arm in enumerate(taken.tolist()):
        name = arms[arm]
        model = name if name in config.models else config.default_model(Tier(name))
        below = probabilities[row, :-1]
        decisions.append(
            Decision(
                stage="learned",
                tier=config.model(model).tier,
                model=model,
                probabilities=dict(zip(arms, probabilities[row].tolist(), strict=True)),
                difficulty=float(1 - below.mean()),
                estimated_cost_usd=float(yardstick.cost_usd[row, arm]),
                policy_version=config.policy_version,
            )
        )
    return decisions


def _assessed(
    yardstick: Yardstick, decisions: Sequence[Decision], services: Services | None, seconds: float
) -> Evaluation:
    """What a policy of the learned stage would be told; the file's own knob was not turned."""
    policy = yardstick.config.model_copy(update={"learned": None, "stages": ("learned",)})
    config = policy.at_version(yardstick.config.policy_version)
    return assess(replace(yardstick, config=config), decisions, services, seconds=seconds)


def _report(evaluation: Evaluation, *, by_source: bool) -> FitReport:
    policy, tiers, gap = evaluation.policy, evaluation.policy.tiers, evaluation.gap
    measures = {
        "quality": policy.quality,
        "cost_usd_per_1k": policy.cost_usd_per_1k,
        "calibration_error": evaluation.calibration_error,
        "accuracy": tiers.accuracy if tiers else None,
        "macro_f1": tiers.macro_f1 if tiers else None,
        "pro_to_lite": tiers.pro_to_lite if tiers else None,
        "apgr": gap.apgr if gap else None,
        "cpt_50": gap.cpt_50 if gap else None,
        "cpt_80": gap.cpt_80 if gap else None,
    }
    return FitReport(
        labels=evaluation.labels,
        prompts=evaluation.prompts,
        held_out_by="source" if by_source else "prompt",
        measures={name: round(value, 4) for name, value in measures.items() if value is not None},
    )
