"""Fits the map from the semantic stage's scores to probabilities, on labelled prompts.

As semantic-router's ``fit`` does, a prompt gives one pair: the score of its best route, and
whether that route is right. A label is a tier, so a route is right that leads to it; a group,
if one of its sub-routes does. A prompt goes on into the group it scores best, and gives a pair
at each fork where the routes lead to different tiers.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from semantic_router.calibration import Calibrator

from promptyard.errors import InputError
from promptyard.names import CLASSIFY_CHUNK, Tier
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.embedding import ReadingEmbedder, build_embedder
from promptyard_worker.routing.labelled import Labelled
from promptyard_worker.routing.metrics import calibration_error
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.rules import RulesStage
from promptyard_worker.routing.semantic import SemanticStage
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stage import Chunk, Fork
from promptyard_worker.routing.stages import Calibration, Frozen

Method = Literal["platt", "isotonic"]

#: Parts of the prompts: the probabilities of each are judged by a map fitted on the others.
FOLDS: Final = 5
#: Fewer right or wrong choices than this say nothing of probabilities.
FEWEST: Final = 2 * FOLDS
#: The effect is shown of thresholds that these shares of the choices reach.
_SHARES: Final = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)
_BAR_DIGITS: Final = 3
#: Of the numbers that go into the file.
_DIGITS: Final = 6

_LIBRARY_LOG: Final = logging.getLogger("semantic_router")

Floats = NDArray[np.float64]


class Bar(Frozen):
    """What a threshold would do."""

    threshold: float
    #: Share of the choices that reach it.
    sure: float
    #: Share of those that are right.
    right: float


class CalibrationFit(Frozen):
    """The map, and what it does; errors and bars are of prompts it was not fitted on."""

    calibration: Calibration
    #: How many choices, one a prompt and fork, it was fitted on.
    choices: int
    #: Share of them that are right.
    right: float
    #: Expected calibration error of what the file states now (without calibration: the scores
    #: taken for probabilities).
    error_before: float
    error_after: float
    bars: tuple[Bar, ...]
    #: What was left out, and what to mind.
    remarks: tuple[str, ...]
    #: Lines that could not be used.
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Choices:
    """Scores of the best routes, and whether each is right (1 or 0)."""

    scores: Floats
    right: Floats


def fit_calibration(
    config: RouterConfig, labelled: Labelled, services: Services | None = None, *, method: Method
) -> CalibrationFit:
    """Fit on labelled prompts.

    Raises:
        InputError: the labels do not serve, or are too few.
        RouterFileError: the encoder cannot be built.
    """
    if labelled.tiers is None:
        raise InputError('The labels are scores: calibration needs a "tier" a line.')
    if "semantic" not in config.stage_order:
        raise InputError(
            "The router file has no semantic stage, so there is nothing to calibrate: give its "
            "routes utterances, and list `semantic` if it has `stages`."
        )
    embedder = build_embedder(config, services or Services())
    readings = [Reading.of(job, context_turns=config.context_turns) for job in labelled.jobs]
    kept, remarks = _reaching(config, readings, embedder)
    choices = _choices(
        config, [readings[row] for row in kept], [labelled.tiers[row] for row in kept], embedder
    )
    _refuse_few(choices)
    after = _out_of_fold(choices, method)
    calibrator = _fitted(choices.scores, choices.right, method)
    return CalibrationFit(
        calibration=_rounded(calibrator),
        choices=len(choices.scores),
        right=float(choices.right.mean()),
        error_before=calibration_error(_stated(config, choices), choices.right) or 0.0,
        error_after=calibration_error(after, choices.right) or 0.0,
        bars=tuple(_bars(after, choices.right)),
        remarks=(*remarks, *_reminders(config, calibrator)),
        problems=labelled.problems,
    )


def _reaching(
    config: RouterConfig, readings: Sequence[Reading], embedder: ReadingEmbedder
) -> tuple[list[int], list[str]]:
    """Rows of the prompts that come to the semantic stage and say something of others."""
    utterances = {text for route in config.routes for text in route.all_utterances()}
    # An utterance is as near to itself as can be, which no other prompt is.
    own = {row for row, reading in enumerate(readings) if reading.request.strip() in utterances}
    order = config.stage_order
    ruled: set[int] = set()
    if "rules" in order[: order.index("semantic")]:
        rules, root = RulesStage(config.rules), Fork("", config.routes)
        opinions = rules.opinions(Chunk(readings, embedder), root)
        ruled = {row for row, opinion in enumerate(opinions) if opinion.is_sure} - own
    told = ((own, "prompts are utterances"), (ruled, "prompts are decided by rules"))
    remarks = [f"{len(rows):,} {what}: left out" for rows, what in told if rows]
    return [row for row in range(len(readings)) if row not in own | ruled], remarks


def _choices(
    config: RouterConfig,
    readings: Sequence[Reading],
    labels: Sequence[Tier],
    embedder: ReadingEmbedder,
) -> _Choices:
    semantic = config.semantic.model_copy(update={"calibration": None})
    stage = SemanticStage(config.model_copy(update={"semantic": semantic}), embedder)
    root = Fork("", config.routes)
    pairs: list[tuple[float, bool]] = []
    for start in range(0, len(readings), CLASSIFY_CHUNK):
        span = slice(start, start + CLASSIFY_CHUNK)
        chunk = Chunk(readings[span], embedder, nearest=0)
        pairs += _pairs(stage, chunk, labels[span], root)
    scores, right = zip(*pairs, strict=True) if pairs else ((), ())
    return _Choices(np.array(scores, dtype=np.float64), np.array(right, dtype=np.float64))


def _pairs(
    stage: SemanticStage, chunk: Chunk, labels: Sequence[Tier], root: Fork
) -> Iterator[tuple[float, bool]]:
    """Score and rightness of the best route of each prompt, at every fork it comes to."""
    forks = deque([(root, list(range(len(chunk))))])
    while forks:
        fork, rows = forks.popleft()
        reach = {route.name: _tiers_of(route) for route in fork.routes}
        behind: dict[str, list[int]] = {}
        for row, opinion in zip(rows, stage.opinions(chunk.part(rows), fork), strict=True):
            if not any(opinion.scores.values()):  # nothing known of it: no route takes it
                continue
            best = max(opinion.scores, key=opinion.scores.__getitem__)
            if not all(labels[row] in reach[name] for name in opinion.scores):
                yield opinion.scores[best], labels[row] in reach[best]
            behind.setdefault(best, []).append(row)
        for route in fork.routes:
            if route.routes and route.name in behind:
                forks.append((Fork(fork.address_of(route.name), route.routes), behind[route.name]))


def _tiers_of(route: RouteConfig) -> frozenset[Tier]:
    own = frozenset([route.tier] if route.tier else [])
    return own.union(*(_tiers_of(child) for child in route.routes))


def _refuse_few(choices: _Choices) -> None:
    right = int(choices.right.sum())
    for count, what in ((right, "right"), (len(choices.right) - right, "wrong")):
        if count < FEWEST:
            raise InputError(
                f"The best route is {what} for {count} of {len(choices.right):,} prompts: "
                f"calibration needs {FEWEST} that are right and {FEWEST} that are wrong. "
                f"Label more prompts."
            )


def _out_of_fold(choices: _Choices, method: Method) -> Floats:
    """Probabilities by maps that were fitted without the prompt; folds have equal shares."""
    shuffled = np.random.default_rng(0).permutation(len(choices.right))
    order = shuffled[np.argsort(choices.right[shuffled], kind="stable")]
    probabilities = np.empty(len(order))
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        kept = np.setdiff1d(order, held)
        calibrator = _fitted(choices.scores[kept], choices.right[kept], method)
        probabilities[held] = calibrator(choices.scores[held])
    return probabilities


def _fitted(scores: Floats, right: Floats, method: Method) -> Calibrator:
    level = _LIBRARY_LOG.level
    _LIBRARY_LOG.setLevel(logging.ERROR)  # it warns of each flat map; we say it once
    try:
        return Calibrator.fit(scores, right, method)
    finally:
        _LIBRARY_LOG.setLevel(level)


def _stated(config: RouterConfig, choices: _Choices) -> Floats:
    """What the file says now of how sure a choice is."""
    calibration = config.semantic.calibration
    if calibration is None:
        return choices.scores
    params = {name: list(values) for name, values in calibration.params.items()}
    return np.asarray(Calibrator(calibration.method, params)(choices.scores))


def _bars(probabilities: Floats, right: Floats) -> Iterator[Bar]:
    quantiles = np.quantile(probabilities, [1 - share for share in _SHARES])
    scale = 10**_BAR_DIGITS
    for threshold in dict.fromkeys((np.floor(quantiles * scale) / scale).tolist()):
        passing = probabilities >= threshold
        yield Bar(
            threshold=threshold, sure=float(passing.mean()), right=float(right[passing].mean())
        )


def _reminders(config: RouterConfig, calibrator: Calibrator) -> Iterator[str]:
    if calibrator.method == "platt" and calibrator.params["a"] == [0.0]:
        yield (
            "a higher score is not more often right here, so every probability is the same: "
            "better utterances, another encoder or a learned stage would serve more"
        )
    semantic = config.semantic
    bars = (semantic.threshold, semantic.margin or None, *_thresholds(config.routes))
    if semantic.calibration is None and any(bar is not None for bar in bars):
        yield "thresholds and margin of the file are of scores: they will apply to probabilities"


def _thresholds(routes: Sequence[RouteConfig]) -> Iterator[float | None]:
    for route in routes:
        yield route.threshold
        yield from _thresholds(route.routes)


def _rounded(calibrator: Calibrator) -> Calibration:
    """As it goes into the file: short, each point of an isotonic map once."""
    names = list(calibrator.params)
    values = zip(*calibrator.params.values(), strict=True)
    points = dict.fromkeys(tuple(round(value, _DIGITS) for value in point) for point in values)
    columns = zip(*points, strict=True)
    return Calibration(method=calibrator.method, params=dict(zip(names, columns, strict=True)))
