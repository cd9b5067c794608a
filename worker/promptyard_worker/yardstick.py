"""What labels say of decisions: quality and cost of every arm for every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptyard.errors import InputError
from promptyard.job import Decision
from promptyard.names import Tier
from promptyard_worker.routing import metrics
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.curve import gap_curve
from promptyard_worker.routing.labelled import Labelled
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.stages import Frozen

Floats = NDArray[np.float64]

#: Stages whose probabilities say that a route is the right one.
_SAY_RIGHT: Final = ("semantic", "judge")


class TierMeasures(Frozen):
    """How decisions meet tier labels; 0 to 1."""

    accuracy: float
    macro_f1: float
    #: Sent to a cheaper tier than the label.
    under_routing: float
    #: Of the pro prompts: sent to lite; None without a pro prompt.
    pro_to_lite: float | None
    #: Sent to a dearer tier than the label.
    over_routing: float


class Measures(Frozen):
    """How one way of routing does on some prompts."""

    name: str
    prompts: int
    #: Mean score of the answers; of tier labels, share sent to a tier that is good enough.
    quality: float
    #: Quality as a part of what the best single arm has on these prompts.
    of_best: float | None
    cost_usd_per_1k: float
    #: None where the labels are scores.
    tiers: TierMeasures | None


class GapMeasures(Frozen):
    """How the learned stage ranks prompts between two arms (``curve.gap_curve``)."""

    weak: str
    strong: str
    #: How many prompts it ranked.
    prompts: int
    apgr: float
    cpt_50: float
    cpt_80: float


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Labelled prompts, the arms a policy has for them, and what each is worth and costs."""

    config: RouterConfig
    #: Those that can be measured: with scores, those that every arm was tried on.
    labelled: Labelled
    #: Tiers (of tier labels) or what the scores are of; cheapest first.
    arms: tuple[str, ...]
    #: Prompts by arms, 0 to 1.
    quality: Floats
    #: Prompts by arms, estimated.
    cost_usd: Floats
    #: What each arm is called in ``Decision.probabilities``: itself, its model, its routes.
    aliases: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, labelled: Labelled, config: RouterConfig) -> Yardstick:
        """Lay the labels along the policy's tiers and models.

        Raises:
            InputError: they have no arm, or no prompt, in common.
        """
        if labelled.tiers is not None:
            tiers = [tier for tier in reversed(metrics.TIERS) if _model_of(tier, config)]
            cost_usd = _costs(labelled, tiers, config)
            quality = metrics.tier_quality(labelled.tiers, tiers)
            arms = tuple(map(str, tiers))
            return cls(config, labelled, arms, quality, cost_usd, _aliases(arms, config))
        known = [arm for arm in labelled.arms if _model_of(arm, config)]
        if not known:
            raise InputError(
                f"The scores are of {', '.join(labelled.arms)}, and the router file has none of "
                f"them: name its models ({', '.join(config.models)}) or tiers."
            )
        measured = labelled.of_arms(known).complete()
        if measured.scores is None or not len(measured):
            raise InputError(
                f"No prompt has a score of each of {', '.join(known)}: quality cannot be "
                "compared. Remove the scores of what was seldom tried."
            )
        cost_usd = _costs(measured, known, config)
        order = np.argsort(cost_usd.mean(axis=0), kind="stable")
        arms = tuple(known[i] for i in order)
        quality, cost_usd = measured.scores[:, order], cost_usd[:, order]
        remarks = tuple(_left_out(labelled, known, len(measured)))
        return cls(config, measured, arms, quality, cost_usd, _aliases(arms, config), remarks)

    def taken(self, decisions: Sequence[Decision]) -> Floats:
        """1 where a prompt went, 0 elsewhere.

        Raises:
            InputError: a prompt went to a model of which there is no score.
        """
        taken = np.zeros_like(self.quality)
        for row, decision in enumerate(decisions):
            arm = next((a for a in (decision.model, decision.tier) if a in self.arms), None)
            if arm is None:
                raise InputError(
                    f"The policy sends prompts to {decision.model} (tier {decision.tier}), and "
                    f"there are no scores of it, only of {', '.join(self.arms)}: add them."
                )
            taken[row, self.arms.index(arm)] = 1
        return taken

    def cost_of(self, decisions: Sequence[Decision]) -> Floats:
        """What each decision will cost, as it says itself."""
        return np.array([decision.estimated_cost_usd or 0.0 for decision in decisions])

    def measure(
        self, name: str, taken: Floats, cost_usd: Floats, *, rows: Sequence[int] | None = None
    ) -> Measures:
        """Sum a way of routing up.

        Args:
            name: of this way.
            taken: weights, prompts by arms.
            cost_usd: of each prompt.
            rows: the prompts that count; None: all.
        """
        own = list(range(len(taken)) if rows is None else rows)
        quality = float((taken[own] * self.quality[own]).sum(axis=1).mean())
        best = self.quality[own, int(self.quality.mean(axis=0).argmax())].mean()
        return Measures(
            name=name,
            prompts=len(own),
            quality=quality,
            of_best=quality / float(best) if best > 0 else None,
            cost_usd_per_1k=float(cost_usd[own].mean() * 1000),
            tiers=None if self.labelled.tiers is None else _tier_measures(self.counts(taken, own)),
        )

    def counts(self, taken: Floats, rows: Sequence[int] | None = None) -> Floats:
        """The confusion table of a way of routing; for tier labels."""
        own = list(range(len(taken)) if rows is None else rows)
        labels = [(self.labelled.tiers or ())[row] for row in own]
        tables = (
            metrics.confusion(labels, [Tier(arm)] * len(own), weights=taken[own, column])
            for column, arm in enumerate(self.arms)
        )
        return np.asarray(np.sum(list(tables), axis=0))

    def calibration_error(self, decisions: Sequence[Decision]) -> float | None:
        """Of the probabilities by which prompts were decided; None without any.

        A learned stage says of each arm how probable it is good enough: held against how
        nearly it does what the dearest does, which takes what is left whatever is said of it.
        Others say how probable it is that a route is right: held against the label.
        """
        stated: list[float] = []
        truth: list[float] = []
        good = metrics.nearly_as_good(self.quality)
        for row, decision in enumerate(decisions):
            if decision.stage not in _SAY_RIGHT:
                for column in range(len(self.arms) - 1):
                    if (probability := self._probability(decision, column)) is not None:
                        stated.append(probability)
                        truth.append(good[row, column])
            elif self.labelled.tiers and decision.route in decision.probabilities:
                stated.append(decision.probabilities[decision.route])
                truth.append(decision.tier is self.labelled.tiers[row])
        return metrics.calibration_error(stated, truth)

    def gap(self, decisions: Sequence[Decision]) -> tuple[GapMeasures | None, str]:
        """APGR and CPT of the learned stage, or why there are none; for scores.

        Prompts go to the dearest arm in the order in which the cheapest is less and less
        probably good enough: the order in which a rising bar moves them.
        """
        if self.labelled.tiers is not None:
            return None, ""
        weak, strong = self.arms[0], self.arms[-1]
        found = [self._probability(decision, 0) for decision in decisions]
        rows = [row for row, probability in enumerate(found) if probability is not None]
        if not rows:
            return None, "no APGR: no learned stage gave probabilities by which to rank prompts"
        scores = [-probability for probability in found if probability is not None]
        try:
            curve = gap_curve(scores, weak=self.quality[rows, 0], strong=self.quality[rows, -1])
        except ValueError as error:
            return None, f"no APGR between {strong} and {weak}: {error}"
        return GapMeasures(
            weak=weak,
            strong=strong,
            prompts=len(rows),
            apgr=curve.apgr,
            cpt_50=curve.cpt(0.5),
            cpt_80=curve.cpt(0.8),
        ), ""

    def _probability(self, decision: Decision, column: int) -> float | None:
        """That the learned stage thinks an arm good enough; None if it did not look."""
        if decision.difficulty is None:
            return None
        given = decision.probabilities
        return next((given[name] for name in self.aliases[column] if name in given), None)


def _model_of(arm: str, config: RouterConfig) -> str | None:
    """The model that an arm, a tier or a model, calls; None if the policy has no such arm."""
    if arm in config.models:
        return arm
    tiers = {str(tier): model for tier, model in config.catalog().tier_models.items()}
    return tiers.get(arm)


def _aliases(arms: Sequence[str], config: RouterConfig) -> tuple[tuple[str, ...], ...]:
    aliases = []
    for arm in arms:
        model = _model_of(arm, config) or arm
        routes = [name for name, route in config.leaves() if arm in (route.tier, route.model)]
        aliases.append((arm, model, *routes))
    return tuple(aliases)


def _costs(labelled: Labelled, arms: Sequence[str], config: RouterConfig) -> Floats:
    models = [config.model(_model_of(arm, config) or arm) for arm in arms]
    readings = (Reading.of(job, context_turns=config.context_turns) for job in labelled.jobs)
    return metrics.costs_usd([reading.token_count for reading in readings], models)


def _left_out(labelled: Labelled, known: Sequence[str], measured: int) -> list[str]:
    remarks = []
    if unknown := [arm for arm in labelled.arms if arm not in known]:
        remarks.append(f"scores of {', '.join(unknown)} left out: not in the router file")
    if missing := len(labelled) - measured:
        remarks.append(f"{missing:,} prompts left out: an arm has no score")
    return remarks


def _tier_measures(counts: Floats) -> TierMeasures:
    return TierMeasures(
        accuracy=metrics.accuracy(counts),
        macro_f1=metrics.macro_f1(counts),
        under_routing=metrics.under_routing(counts),
        pro_to_lite=metrics.pro_to_lite(counts),
        over_routing=metrics.over_routing(counts),
    )
