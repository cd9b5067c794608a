"""fit: what is learned, what is measured, and that nothing unseen is seen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from promptyard.errors import InputError
from promptyard.job import Content, FileData, Job, Part
from promptyard.names import Tier
from promptyard_worker.fitting import LEAST_PROMPTS, Fit, fit
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.curve import choose, first_good_enough
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.labelled import Labelled
from promptyard_worker.routing.learned.features import Features, features
from promptyard_worker.routing.pieces import embedded_reader
from tests.unit.test_evaluation import policy

PRO, FLASH, LITE = Tier
TASKS = {
    PRO: (
        "Prove that every {} has a bounded inverse.",
        "Derive how fast the {} grows, and justify each step.",
    ),
    FLASH: ("Write a short story about the {}.", "Compose a cheerful poem on the {}."),
    LITE: ("Translate the word {} into French.", "Is the {} in this list: yes or no?"),
}
WORDS = (
    "apple river engine castle violin ladder garden mirror pencil rocket bridge candle desert "
    "falcon guitar hammer island jacket kettle lantern magnet needle orchid parrot quarry ribbon "
    "saddle tunnel umbrella valley window yacht anchor basket cactus dolphin easel feather"
)
THINGS = WORDS.split()

Pairs = list[tuple[str, Tier]]


def prompts(number: int, *, seed: int = 0) -> Pairs:
    """Prompts whose task gives their tier away, and whose subject does not; none twice."""
    chance = random.Random(seed)
    found: dict[str, Tier] = {}
    while len(found) < number:
        tier = list(Tier)[len(found) % 3]
        thing = " ".join(chance.sample(THINGS, 2))
        found[chance.choice(TASKS[tier]).format(thing)] = tier
    return list(found.items())


def labelled(pairs: Sequence[tuple[str, Tier]], sources: Sequence[str] | None = None) -> Labelled:
    """Prompts with tiers; each has a line and a name of its own, as if read from a file."""
    jobs = tuple(
        Job(contents=text, custom_id=str(line), line=line)
        for line, (text, _) in enumerate(pairs, start=1)
    )
    tiers = tuple(tier for _, tier in pairs)
    return Labelled(jobs, tiers, None, (), tuple(sources or [""] * len(pairs)))


def scored(texts: Sequence[str], rows: Sequence[Sequence[float]], *arms: str) -> Labelled:
    """Prompts with scores."""
    jobs = tuple(Job(contents=text) for text in texts)
    return Labelled(jobs, None, np.array(rows, dtype=float), arms, ("",) * len(jobs))


def of(texts: Sequence[str]) -> Features:
    """The features of texts."""
    return features(embedded_reader().read(texts), StaticEncoder().encode(texts))


def decided(found: Fit, texts: Sequence[str], bars: Sequence[float] | None = None) -> list[str]:
    """The arms that a fitted router takes."""
    fitted = found.fitted
    taken = first_good_enough(fitted.probabilities(of(texts)), bars or fitted.bars)
    return [fitted.arms[arm] for arm in taken]


def accuracy(found: Fit) -> float:
    """On what was held out."""
    return found.fitted.report.measures["accuracy"]


def test_a_task_is_learned_whatever_it_is_about() -> None:
    """What was held out is right, and so are prompts that come later; the report is kept."""
    found = fit(policy(), labelled(prompts(150)))
    assert accuracy(found) > 0.97
    later = dict(prompts(90, seed=1))
    pairs = zip(decided(found, [*later]), later.values(), strict=True)
    assert np.mean([arm == tier for arm, tier in pairs]) > 0.97
    report = found.fitted.report
    assert (report.labels, report.prompts, report.held_out_by) == ("tier", 150, "prompt")
    assert report.measures["pro_to_lite"] == 0
    assert found.evaluation.confusion is not None
    assert {one.name for one in found.evaluation.stages} == {"learned"}
    assert {"all pro", "random mix", "nearest utterance"} <= {
        one.name for one in found.evaluation.baselines
    }
    assert (found.fitted.arms, found.fitted.nested) == (("lite", "flash", "pro"), True)


@pytest.mark.parametrize("number", [45, 240])
def test_labels_by_chance_are_met_by_chance(number: int) -> None:
    """Nothing of a label reaches what it is compared with: a third is right, few or many."""
    rights = []
    for seed in range(4):
        pairs = prompts(number, seed=seed)
        tiers = [tier for _, tier in pairs]
        random.Random(seed).shuffle(tiers)
        shuffled = [(text, tier) for (text, _), tier in zip(pairs, tiers, strict=True)]
        rights.append(accuracy(fit(policy(), labelled(shuffled))))
    spread = (2 / 9 / (4 * number)) ** 0.5
    assert np.mean(rights) < 1 / 3 + 3 * spread


def gibberish(number: int) -> Pairs:
    """Prompts of words that no other has, and tiers by chance: only memory gets these right."""
    chance = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        (" ".join("".join(chance.choices(letters, k=7)) for _ in range(8)), chance.choice([*Tier]))
        for _ in range(number)
    ]


def test_two_tiers_too_low_is_the_worst_error() -> None:
    """Where nothing is known and lite is a little likelier than pro, pro it is."""
    tiers = [PRO, LITE, PRO, LITE, PRO, LITE, PRO, LITE, LITE] * 20
    pairs = [(text, tier) for (text, _), tier in zip(gibberish(180), tiers, strict=True)]
    found = fit(policy(), labelled(pairs))
    assert found.fitted.report.measures["pro_to_lite"] < 0.2
    assert set(decided(found, [text for text, _ in prompts(20)])) == {"pro"}


@pytest.mark.parametrize("by_source", [False, True])
def test_a_prompt_that_is_there_twice_is_not_seen_by_its_twin(by_source: bool) -> None:
    """Not under another name or line, nor where two sources share it."""
    pairs = gibberish(120)
    sources = ["a"] * 120 + ["b"] * 120 if by_source else None
    found = fit(policy(), labelled([*pairs, *pairs], sources))
    assert accuracy(found) < 0.5
    assert found.fitted.report.held_out_by == ("source" if by_source else "prompt")


def test_sources_are_held_out_whole() -> None:
    """What only tells a source helps nothing; with the sources unknown it seems to."""
    chance = random.Random(5)
    pairs, sources = [], []
    for source, words in enumerate(np.array_split(THINGS, 12)):
        for _ in range(20):
            pairs.append((" ".join(chance.choices([*words], k=6)), [*Tier][source * 7 % 5 % 3]))
            sources.append(f"source {source}")
    assert accuracy(fit(policy(), labelled(pairs))) > 0.9
    found = fit(policy(), labelled(pairs, sources))
    assert accuracy(found) < 0.5
    assert found.fitted.report.held_out_by == "source"
    assert len(found.evaluation.sources) == 12


def test_one_source_is_none() -> None:
    """There is no other to learn from."""
    found = fit(policy(), labelled(prompts(90), ["exam"] * 90))
    assert found.fitted.report.held_out_by == "prompt"
    assert accuracy(found) > 0.9


def test_probabilities_are_as_likely_as_they_say() -> None:
    """The truth is a die that is loaded by the task."""
    chance = random.Random(7)
    loaded = {LITE: (0, 0.25, 0.75), FLASH: (0.2, 0.6, 0.2), PRO: (0.9, 0.1, 0)}
    tasks = prompts(600, seed=7)
    pairs = [(text, chance.choices([*Tier], loaded[task])[0]) for text, task in tasks]
    found = fit(policy(), labelled(pairs))
    assert found.fitted.report.measures["calibration_error"] < 0.08
    later = prompts(300, seed=8)
    stated = found.fitted.probabilities(of([text for text, _ in later]))
    for task in loaded:
        thrown = [tier for (_, tier), (_, own) in zip(pairs, tasks, strict=True) if own is task]
        lite, flash = (thrown.count(tier) / len(thrown) for tier in (LITE, FLASH))
        own = stated[[kind is task for _, kind in later]].mean(axis=0)
        assert own == pytest.approx([lite, lite + flash, 1], abs=0.13)


def outcomes(number: int, *, seed: int = 0) -> Labelled:
    """Small does well where it translates; at proofs both fail; soft and noisy."""
    chance = random.Random(seed)
    means = {LITE: (0.9, 0.9), FLASH: (0.2, 0.9), PRO: (0.0, 0.0)}
    pairs = prompts(number, seed=seed)
    rows = [[min(1, mean + chance.uniform(0, 0.1)) for mean in means[tier]] for _, tier in pairs]
    return scored([text for text, _ in pairs], rows, "small", "big")


def test_the_cheap_model_gets_what_it_is_good_at() -> None:
    """And what the dear one fails at too: nothing is lost by it."""
    found = fit(policy(), outcomes(240))
    measures, gap = found.fitted.report.measures, found.evaluation.gap
    assert gap is not None
    assert measures["apgr"] > 0.8
    assert (measures["cpt_50"] < 0.25, measures["cpt_80"] < 0.4) == (True, True)
    dear = next(one for one in found.evaluation.baselines if one.name == "all big")
    assert found.evaluation.policy.cost_usd_per_1k < 0.5 * dear.cost_usd_per_1k
    assert found.evaluation.policy.quality > 0.93 * dear.quality
    later = prompts(60, seed=1)
    arms = decided(found, [text for text, _ in later])
    assert {arm for arm, (_, tier) in zip(arms, later, strict=True) if tier is not FLASH} == {
        "small"
    }
    assert arms.count("big") > 15
    assert (found.fitted.arms, found.fitted.nested) == (("small", "big"), False)
    assert found.fitted.report.labels == "scores"


def test_a_point_keeps_what_it_promises() -> None:
    """The quality and the cost of a knob, on prompts that come later."""
    found = fit(policy(), outcomes(300))
    later = outcomes(300, seed=9)
    assert later.scores is not None
    texts = [job.text for job in later.jobs]
    for quality in (0.7, 0.9, 0.99):
        point = choose(found.fitted.points, quality=quality)
        taken = [int(arm == "big") for arm in decided(found, texts, point.bars)]
        kept = later.scores[range(300), taken].mean() / later.scores[:, 1].mean()
        assert kept == pytest.approx(point.quality, abs=0.08)
        assert np.mean(taken) == pytest.approx(point.shares[1], abs=0.08)
    costs = [point.cost_usd_per_1k for point in found.fitted.points]
    assert costs == sorted(costs)


def test_a_score_of_a_part_counts_as_a_part() -> None:
    """Small is right three times in four: so says its probability, whichever way it is told."""
    texts = [text for text, _ in prompts(200)]
    soft = fit(policy(), scored(texts, [(0.75, 1)] * 200, "small", "big"))
    hard = fit(policy(), scored(texts, [(i % 4 > 0, 1) for i in range(200)], "small", "big"))
    for found in (soft, hard):
        stated = found.fitted.probabilities(of(texts))[:, 0]
        assert stated.mean() == pytest.approx(0.75, abs=0.05)


def test_a_tier_that_the_router_lacks_counts_as_the_next_dearer() -> None:
    """The labels are others', the arms are the router's."""
    whole = policy(default="pro")
    two = whole.model_copy(
        update={
            "routes": tuple(route for route in whole.routes if route.tier is not FLASH),
            "models": {name: own for name, own in whole.models.items() if own.tier is not FLASH},
        }
    )
    found = fit(two, labelled(prompts(90)))
    assert found.fitted.arms == ("lite", "pro")
    texts = [text.format("red kettle") for text in (TASKS[LITE][0], TASKS[FLASH][0], TASKS[PRO][0])]
    assert decided(found, texts) == ["lite", "pro", "pro"]


def test_pictures_alone_teach_nothing() -> None:
    """The learned stage leaves them open; however many there are at the end of the file."""
    picture = Content(parts=(Part(file_data=FileData(file_uri="gs://x", mime_type="image/png")),))
    seen, texts = Job(contents=(picture,)), labelled(prompts(60))
    mixed = replace(
        texts, jobs=(*texts.jobs, seen), tiers=(*(texts.tiers or ()), PRO), sources=("",) * 61
    )
    found = fit(policy(), mixed)
    assert found.fitted.report.prompts == 60
    assert found.evaluation.remarks == ("1 prompts left out: there is no text in them",)


def test_a_knob_of_the_file_is_not_turned_by_fitting() -> None:
    """The bars are those without a knob, and the report says so."""
    config = policy(learned={"file": "old.npz", "quality": 0.5})
    assert isinstance(config, RouterConfig)
    assert fit(config, labelled(prompts(60))).evaluation.knob is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (labelled(prompts(LEAST_PROMPTS - 1)), "There are 29 different labelled prompts for 3 arm"),
        (labelled(prompts(20) * 3), "There are 20 different labelled prompts for 3 arms"),
        (labelled([(text, PRO) for text, _ in prompts(60)]), "Every prompt is labelled pro"),
        (
            scored(THINGS, [[0.5]] * len(THINGS), "big"),
            "labelled prompts for 1 arms: give at",
        ),
        (scored(THINGS, [[1, 0]] * len(THINGS), "small", "big"), "big, the dearest, is never good"),
    ],
)
def test_labels_that_teach_nothing_are_refused(given: Labelled, message: str) -> None:
    """With what to add."""
    with pytest.raises(InputError, match=message):
        fit(policy(), given)
