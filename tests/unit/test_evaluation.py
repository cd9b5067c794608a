"""Evaluation: a policy measured on labelled prompts, by hand where it can be done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from promptyard.errors import InputError
from promptyard.job import Decision, Job
from promptyard.names import CLASSIFY_CHUNK, Tier
from promptyard_worker.evaluation import (
    Evaluation,
    decide,
    evaluate,
    nearest_utterance,
)
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.labelled import Labelled
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.yardstick import Measures, TierMeasures, Yardstick

PRO, FLASH, LITE = Tier

#: Rules by keyword; lite answers cost 0.1 cent, flash 1 cent, pro 10 cents.
POLICY = """\
version: 1
stages: [rules]
default: flash
rules:
  - {name: hard, when: {keywords: [prove]}, tier: pro}
  - {name: easy, when: {keywords: [translate]}, tier: lite}
routes:
  - {name: pro, tier: pro, model: big, utterances: [Prove this theorem about primes.]}
  - {name: flash, tier: flash, model: mid, threshold: 0.9, utterances: [Write me a short story.]}
  - {name: lite, tier: lite, model: small, utterances: [Translate this word into French.]}
models:
  big: {tier: pro, price: {input: 0, output: 100}, typical_output_tokens: 1000, \
context_window: 9, timeout_s: 1}
  mid: {tier: flash, price: {input: 0, output: 10}, typical_output_tokens: 1000, \
context_window: 9, timeout_s: 1}
  small: {tier: lite, price: {input: 0, output: 1}, typical_output_tokens: 1000, \
context_window: 9, timeout_s: 1}
"""
#: Prompt -> label. Decided: pro lite flash | flash | lite pro.
PROMPTS = {
    "Prove that there are infinitely many primes.": PRO,
    "Translate my proof into a program.": PRO,
    "Design a bridge.": PRO,
    "Write a short story about a fox.": FLASH,
    "Translate the word cat into French.": LITE,
    "Prove is a verb, right?": LITE,
}


def policy(**changes: Any) -> RouterConfig:
    """The policy, with some keys of the file changed."""
    return RouterConfig.model_validate(yaml.safe_load(POLICY) | changes)


def labelled(*, sources: tuple[str, ...] = ("",) * 6) -> Labelled:
    """The prompts with their tiers."""
    jobs = tuple(Job(contents=text) for text in PROMPTS)
    return Labelled(jobs, tuple(PROMPTS.values()), None, (), sources)


def scored(scores: list[list[float]], *arms: str) -> Labelled:
    """The first prompts, with scores."""
    jobs = tuple(Job(contents=text) for text in PROMPTS)[: len(scores)]
    return Labelled(jobs, None, np.array(scores, dtype=float), arms, ("",) * len(jobs))


def tiers_of(measures: Measures) -> TierMeasures:
    """The figures that only tier labels have."""
    assert measures.tiers is not None
    return measures.tiers


def named(found: Evaluation, name: str) -> Measures:
    """A baseline."""
    return next(one for one in found.baselines if one.name == name)


def test_a_policy_by_hand() -> None:
    """Three of six right, two too cheap (one of three pros to lite), one too dear."""
    found = evaluate(policy(), labelled())
    assert (found.prompts, found.labels) == (6, "tier")
    assert found.policy_version == policy().policy_version
    assert found.confusion == {
        "pro": {"pro": 1, "flash": 1, "lite": 1},
        "flash": {"pro": 0, "flash": 1, "lite": 0},
        "lite": {"pro": 1, "flash": 0, "lite": 1},
    }
    tiers = tiers_of(found.policy)
    assert tiers.accuracy == pytest.approx(3 / 6)
    assert tiers.macro_f1 == pytest.approx((2 / 5 + 2 / 3 + 2 / 4) / 3)
    assert tiers.under_routing == pytest.approx(2 / 6)
    assert tiers.pro_to_lite == pytest.approx(1 / 3)
    assert tiers.over_routing == pytest.approx(1 / 6)
    assert found.policy.quality == pytest.approx(4 / 6)
    assert found.policy.cost_usd_per_1k == pytest.approx((2 * 100 + 2 * 10 + 2 * 1) / 6)
    assert [arm.name for arm in found.arms] == ["lite", "flash", "pro"]
    assert [arm.label for arm in found.arms] == pytest.approx([2 / 6, 1 / 6, 3 / 6])
    assert [arm.decided for arm in found.arms] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert found.prompts_per_s > 0
    assert (found.calibration_error, found.gap, found.remarks) == (None, None, ())


def test_one_tier_for_all_is_measured_beside() -> None:
    """Dearest first."""
    found = evaluate(policy(), labelled())
    assert [one.name for one in found.baselines[:3]] == ["all pro", "all flash", "all lite"]
    costs = [one.cost_usd_per_1k for one in found.baselines[:3]]
    assert costs == pytest.approx([100, 10, 1])
    assert tiers_of(named(found, "all pro")).accuracy == pytest.approx(3 / 6)
    assert tiers_of(named(found, "all pro")).over_routing == pytest.approx(3 / 6)
    assert tiers_of(named(found, "all lite")).pro_to_lite == 1
    assert named(found, "all pro").quality == 1


def test_the_random_mix_costs_the_same() -> None:
    """37 = a mix of flash and pro with 0.3 of pro; what is said of it is its expected value."""
    found = evaluate(policy(), labelled())
    mix = named(found, "random mix")
    assert mix.cost_usd_per_1k == pytest.approx(found.policy.cost_usd_per_1k)
    assert tiers_of(mix).accuracy == pytest.approx((0.3 * 3 + 0.7 * 1) / 6)
    assert tiers_of(mix).under_routing == pytest.approx(0.7 * 3 / 6)
    assert mix.quality == pytest.approx(0.3 + 0.7 * 3 / 6)


def test_the_nearest_utterance_decides_without_rules_and_bars() -> None:
    """The semantic stage alone; the flash route's bar would keep it from the story."""
    nearest = nearest_utterance(policy(semantic={"margin": 0.5, "threshold": 0.8}))
    assert nearest is not None
    assert nearest.stage_order == ("semantic",)
    decisions = decide(PromptRouter(nearest), labelled().jobs)
    assert {decision.stage for decision in decisions} == {"semantic"}
    assert [decisions[row].tier for row in (0, 3, 4)] == [PRO, FLASH, LITE]
    found = evaluate(policy(), labelled())
    tiers = [decision.tier for decision in decisions]
    right = np.mean([tier is label for tier, label in zip(tiers, PROMPTS.values(), strict=True)])
    assert tiers_of(named(found, "nearest utterance")).accuracy == pytest.approx(right)


def test_no_nearest_utterance_beside_itself_or_without_utterances() -> None:
    """Nor any baseline where none is wanted."""
    assert nearest_utterance(policy(stages=["semantic"])) is None
    silent = [route | {"utterances": []} for route in yaml.safe_load(POLICY)["routes"]]
    assert nearest_utterance(policy(routes=silent)) is None
    assert evaluate(policy(), labelled(), baselines=False).baselines == ()


def test_parts_are_measured_apart() -> None:
    """By the stage that decided and by source, the largest part first."""
    found = evaluate(policy(), labelled(sources=("a", "b", "b", "b", "a", "")), baselines=False)
    assert [(one.name, one.prompts) for one in found.stages] == [("rules", 4), ("default", 2)]
    assert [tiers_of(one).accuracy for one in found.stages] == pytest.approx([0.5, 0.5])
    assert [(one.name, one.prompts) for one in found.sources] == [("b", 3), ("a", 2), ("(none)", 1)]
    assert tiers_of(found.sources[0]).under_routing == pytest.approx(2 / 3)
    assert tiers_of(found.sources[2]).pro_to_lite is None
    assert evaluate(policy(), labelled(), baselines=False).sources == ()


def test_more_prompts_than_a_chunk() -> None:
    """In their order."""
    jobs = [Job(contents=text) for text in PROMPTS] * CLASSIFY_CHUNK
    decided = [decision.tier for decision in decide(PromptRouter(policy()), jobs)]
    assert decided == [PRO, LITE, FLASH, FLASH, LITE, PRO] * CLASSIFY_CHUNK


def test_a_prompt_that_cannot_be_routed_is_told() -> None:
    """Only a job that names a model by itself can be one."""
    with pytest.raises(InputError, match="cannot be routed: Unknown model 'x'"):
        decide(PromptRouter(policy()), [Job(contents="Hi.", model="x")])


def test_scores_of_models() -> None:
    """Mean score of where prompts went (pro lite flash), as a part of the best arm's."""
    labels = scored([[0.5, 0.9, 1.0], [0.25, 0.5, 0.75], [0.0, 0.5, 1.0]], "small", "mid", "big")
    found = evaluate(policy(), labels)
    assert found.labels == "scores"
    assert found.policy.tiers is None
    assert found.policy.quality == pytest.approx((1.0 + 0.25 + 0.5) / 3)
    assert found.policy.of_best == pytest.approx(1.75 / 2.75)
    assert [one.name for one in found.baselines[:3]] == ["all big", "all mid", "all small"]
    assert named(found, "all big").of_best == 1
    assert [(arm.name, arm.label) for arm in found.arms] == [
        ("small", None),
        ("mid", None),
        ("big", None),
    ]
    assert found.confusion is None
    assert found.remarks == (
        "no APGR: no learned stage gave probabilities by which to rank prompts",
    )


def test_scores_that_cannot_be_used_are_left_out_and_told() -> None:
    """Arms the router file does not have, prompts that an arm was not tried on."""
    nan = float("nan")
    labels = scored([[1, 0.5, 0, 0.1], [nan, 1, 1, 1]], "pro", "theirs", "lite", "flash")
    found = evaluate(policy(), labels, baselines=False)
    assert found.prompts == 1
    assert [arm.name for arm in found.arms] == ["lite", "flash", "pro"]
    assert found.remarks[:2] == (
        "scores of theirs left out: not in the router file",
        "1 prompts left out: an arm has no score",
    )
    with pytest.raises(InputError, match=r"scores are of theirs, .* \(big, mid, small\) or tiers"):
        evaluate(policy(), scored([[1]], "theirs"))
    with pytest.raises(InputError, match="No prompt has a score of each of big, mid"):
        evaluate(policy(), scored([[1, nan], [nan, 1]], "big", "mid"))
    with pytest.raises(InputError, match=r"to small \(tier lite\), and there are no scores of it"):
        evaluate(policy(), scored([[1, 1], [1, 1]], "big", "mid"))


def ranked(probability: float, *, stage: str = "learned") -> Decision:
    """A decision of a learned stage that thinks so of the cheapest arm."""
    return Decision(
        stage=stage,
        tier=PRO,
        model="big",
        probabilities={"lite": probability, "pro": 1.0},
        difficulty=1 - probability,
        policy_version="x",
    )


def test_the_learned_stage_is_ranked_by_what_it_thinks_of_the_cheapest() -> None:
    """APGR and CPT between the ends; prompts it never saw do not count."""
    labels = scored([[0, 1], [1, 1], [0, 1], [0, 1]], "small", "big")
    yardstick = Yardstick.of(labels, policy())
    unseen = ranked(0.5, stage="rules").model_copy(update={"difficulty": None})
    gap, remark = yardstick.gap([ranked(0.1), ranked(0.9), ranked(0.2), unseen])
    assert remark == ""
    assert gap is not None
    assert (gap.weak, gap.strong, gap.prompts) == ("small", "big", 3)
    assert gap.apgr == pytest.approx(1 - (2 / 3) / 2)
    assert (gap.cpt_50, gap.cpt_80) == pytest.approx((1 / 3, 0.8 * 2 / 3))
    level = Yardstick.of(scored([[1, 1]], "small", "big"), policy())
    assert level.gap([ranked(0.5)]) == (
        None,
        "no APGR between big and small: the strong model is not better than the weak one: "
        "there is no gap",
    )


def test_probabilities_are_held_against_what_they_speak_of() -> None:
    """Learned: whether each arm is good enough. Semantic, judge: whether the route is right."""
    yardstick = Yardstick.of(labelled().part([0, 4]), policy())
    # lite is good enough for one of the two; what is said of pro decides nothing
    assert yardstick.calibration_error([ranked(0.2), ranked(0.2)]) == pytest.approx(0.5 - 0.2)
    right = Decision(
        stage="judge",
        route="pro",
        tier=PRO,
        model="big",
        probabilities={"pro": 0.75, "lite": 0.25},
        policy_version="x",
    )
    assert yardstick.calibration_error([right, right]) == pytest.approx(0.25)
