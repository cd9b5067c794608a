"""Measures a routing policy on labelled prompts, beside what needs no router.

Every way of routing is a table of weights, prompts by arms: 1 where a prompt went, or, of a
mix by chance, the probability that it goes there. So one set of sums measures them all, and
what is said of a mix is its expected value.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from promptyard.errors import InputError
from promptyard.job import Decision, Job, JobError
from promptyard.names import CLASSIFY_CHUNK
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.curve import mix_at_cost
from promptyard_worker.routing.labelled import Labelled
from promptyard_worker.routing.learned.knob import knob_line
from promptyard_worker.routing.metrics import TIERS, label_shares
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stages import Frozen
from promptyard_worker.yardstick import Floats, GapMeasures, Measures, Yardstick

#: Name of a source in tables, where lines do not say theirs.
NO_SOURCE: Final = "(none)"


class ArmShare(Frozen):
    """How many prompts an arm deserves and gets, 0 to 1."""

    name: str
    #: None where the labels are scores.
    label: float | None
    decided: float


class Evaluation(Frozen):
    """What came of it."""

    prompts: int
    #: ``tier`` or ``scores``.
    labels: str
    policy_version: str
    policy: Measures
    baselines: tuple[Measures, ...]
    #: Cheapest first.
    arms: tuple[ArmShare, ...]
    #: Label -> decided tier -> prompts; None where the labels are scores.
    confusion: dict[str, dict[str, int]] | None
    #: By the stage that decided.
    stages: tuple[Measures, ...]
    #: By where the prompts are from; empty if no line says.
    sources: tuple[Measures, ...]
    #: Of the probabilities that decided; None without any.
    calibration_error: float | None
    gap: GapMeasures | None
    #: What the quality knob is set to, and what that costs and gains.
    knob: str | None
    #: Of routing alone, without loading.
    seconds: float
    prompts_per_s: float
    #: What was left out, and why.
    remarks: tuple[str, ...]
    #: Lines that could not be used.
    problems: tuple[str, ...]


def evaluate(
    config: RouterConfig,
    labelled: Labelled,
    services: Services | None = None,
    *,
    baselines: bool = True,
) -> Evaluation:
    """Route every prompt by a policy and compare with the labels.

    Args:
        config: the policy; its judge, if it has one, is really asked.
        labelled: prompts and labels.
        services: as ``PromptRouter`` takes them.
        baselines: whether to measure what needs no router as well.

    Raises:
        InputError: the labels and the policy do not meet.
        RouterFileError: a stage cannot be built.
    """
    yardstick = Yardstick.of(labelled, config)
    jobs = yardstick.labelled.jobs
    router = PromptRouter(config, services)
    start_s = time.perf_counter()
    decisions = decide(router, jobs)
    took_s = time.perf_counter() - start_s
    return assess(yardstick, decisions, services, seconds=took_s, baselines=baselines)


def assess(
    yardstick: Yardstick,
    decisions: Sequence[Decision],
    services: Services | None = None,
    *,
    seconds: float,
    baselines: bool = True,
) -> Evaluation:
    """Compare decisions with the labels.

    Args:
        yardstick: the labels, along the policy's arms.
        decisions: one a prompt, in order.
        services: for a baseline that embeds.
        seconds: that deciding took.
        baselines: whether to measure what needs no router as well.
    """
    config, labelled = yardstick.config, yardstick.labelled
    taken = yardstick.taken(decisions)
    cost_usd = yardstick.cost_of(decisions)
    gap, gap_remark = yardstick.gap(decisions)
    policy = yardstick.measure("this policy", taken, cost_usd)
    others, remark = _baselines(yardstick, policy, services) if baselines else ([], "")
    return Evaluation(
        prompts=len(decisions),
        labels="scores" if labelled.tiers is None else "tier",
        policy_version=config.policy_version,
        policy=policy,
        baselines=tuple(others),
        arms=_shares(yardstick, taken),
        confusion=_confusion(yardstick, taken),
        stages=_parts(yardstick, [decision.stage for decision in decisions], taken, cost_usd),
        sources=_by_source(yardstick, taken, cost_usd),
        calibration_error=yardstick.calibration_error(decisions),
        gap=gap,
        knob=knob_line(config) if "learned" in config.stage_order else None,
        seconds=seconds,
        prompts_per_s=len(decisions) / seconds,
        remarks=tuple(filter(None, (*yardstick.remarks, remark, gap_remark))),
        problems=labelled.problems,
    )


def decide(router: PromptRouter, jobs: Sequence[Job]) -> list[Decision]:
    """Route jobs in chunks, as a worker does.

    Raises:
        InputError: a job cannot be routed.
    """
    decisions: list[Decision] = []
    for start in range(0, len(jobs), CLASSIFY_CHUNK):
        for outcome in router.route(jobs[start : start + CLASSIFY_CHUNK]):
            if isinstance(outcome, JobError):
                raise InputError(f"A prompt cannot be routed: {outcome.message}")
            decisions.append(outcome)
    return decisions


def nearest_utterance(config: RouterConfig) -> RouterConfig | None:
    """The policy with the semantic stage alone, always sure; None if it has nothing else.

    None too where a route has no utterance: it could not be reached.
    """
    routes = config.routes
    if config.stage_order == ("semantic",) or not routes or not all(map(_speaks, routes)):
        return None
    semantic = config.semantic.model_copy(update={"threshold": None, "margin": 0})
    update = {
        "stages": ("semantic",),
        "semantic": semantic,
        "routes": tuple(map(_without_bar, routes)),
    }
    return config.model_copy(update=update)


def _speaks(route: RouteConfig) -> bool:
    return any(True for _ in route.all_utterances())


def _without_bar(route: RouteConfig) -> RouteConfig:
    routes = tuple(map(_without_bar, route.routes))
    return route.model_copy(update={"threshold": None, "routes": routes})


def _baselines(
    yardstick: Yardstick, policy: Measures, services: Services | None
) -> tuple[list[Measures], str]:
    """Each arm for every prompt, a mix by chance at the policy's cost, the nearest utterance.

    And why the last is missing, where it is.
    """
    prompts = len(yardstick.labelled)
    found = [
        yardstick.measure(f"all {arm}", np.tile(row, (prompts, 1)), yardstick.cost_usd @ row)
        for arm, row in zip(yardstick.arms, np.eye(len(yardstick.arms)), strict=True)
    ][::-1]
    mix = mix_at_cost(
        yardstick.cost_usd.mean(axis=0).tolist(),
        yardstick.quality.mean(axis=0).tolist(),
        at_usd=policy.cost_usd_per_1k / 1000,
    )
    cost_usd = yardstick.cost_usd @ mix
    found.append(yardstick.measure("random mix", np.tile(mix, (prompts, 1)), cost_usd))
    nearest = nearest_utterance(yardstick.config)
    if nearest is None:
        return found, ""
    decisions = decide(PromptRouter(nearest, services), yardstick.labelled.jobs)
    try:
        taken, cost_usd = yardstick.taken(decisions), yardstick.cost_of(decisions)
    except InputError:
        return found, "no nearest utterance: it leads to a model without scores"
    return [*found, yardstick.measure("nearest utterance", taken, cost_usd)], ""


def _parts(
    yardstick: Yardstick, names: Sequence[str], taken: Floats, cost_usd: Floats
) -> tuple[Measures, ...]:
    """Measures of the prompts of each name, the largest part first."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return tuple(
        yardstick.measure(name, taken, cost_usd, rows=own)
        for name, own in sorted(rows.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def _by_source(yardstick: Yardstick, taken: Floats, cost_usd: Floats) -> tuple[Measures, ...]:
    sources = yardstick.labelled.sources
    if not any(sources):
        return ()
    return _parts(yardstick, [source or NO_SOURCE for source in sources], taken, cost_usd)


def _shares(yardstick: Yardstick, taken: Floats) -> tuple[ArmShare, ...]:
    deserved: dict[str, float] = {}
    if yardstick.labelled.tiers is not None:
        shares = label_shares(yardstick.counts(taken))
        deserved = dict(zip(map(str, TIERS), shares.tolist(), strict=True))
    decided = taken.mean(axis=0).tolist()
    return tuple(
        ArmShare(name=arm, label=deserved.get(arm), decided=share)
        for arm, share in zip(yardstick.arms, decided, strict=True)
    )


def _confusion(yardstick: Yardstick, taken: Floats) -> dict[str, dict[str, int]] | None:
    if yardstick.labelled.tiers is None:
        return None
    table = yardstick.counts(taken)
    return {
        str(label): {str(tier): round(n) for tier, n in zip(TIERS, row.tolist(), strict=True)}
        for label, row in zip(TIERS, table, strict=True)
    }
