"""LearnedStage: bars, the quality knob, forks, what it leaves open, what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptyard.errors import RouterFileError
from promptyard.job import Content, Decision, FileData, Job, Part
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.curve import ALWAYS, NEVER, OperatingPoint
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.learned import LearnedStage
from promptyard_worker.routing.learned.features import BUCKETS
from promptyard_worker.routing.learned.model import (
    FitReport,
    FittedRouter,
    Heads,
    encoder_identity,
)
from promptyard_worker.routing.learned.surface import NAMES
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.stage import Chunk, Fork, Opinion
from promptyard_worker.routing.stages import LearnedConfig

#: By the heads below: lite is probably good enough for the first, flash for the first two.
EASY, ASKS, CODE = "Say hello.", "Is it far?", "Mend ```x``` now."
TEXTS = (EASY, ASKS, CODE)
#: Of lite and flash: log odds that it is good enough, and what changes them.
LITE = {"": 2.0, "ends_with_question": -3.0, "has_fence": -6.0}
FLASH = {"": 3.0, "ends_with_question": -1.0, "has_fence": -4.0}
LITE_GOOD = [1 / (1 + np.exp(-odds)) for odds in (2, -1, -4)]
FLASH_GOOD = [1 / (1 + np.exp(-odds)) for odds in (3, 2, -1)]
ENCODER = StaticEncoder()

PRICE = {"input": 0, "output": 1}
MODELS = {
    name: {"tier": tier, "price": PRICE, "context_window": 9000, "timeout_s": 5}
    for name, tier in (("small", "lite"), ("mid", "flash"), ("big", "pro"))
}


def heads(*weights: Mapping[str, float]) -> Heads:
    """Heads that look at the surface alone."""
    columns = len(NAMES) + ENCODER.dimensions
    dense = np.zeros((columns, len(weights)), dtype=np.float32)
    for head, own in enumerate(weights):
        for name in own.keys() - {""}:
            dense[NAMES.index(name), head] = own[name]
    one = np.ones(len(weights), dtype=np.float32)
    return Heads(
        grams=np.zeros((BUCKETS, len(weights)), dtype=np.int8),
        gram_scale=one,
        dense=dense,
        mean=np.zeros(columns, dtype=np.float32),
        inverse_deviation=np.ones(columns, dtype=np.float32),
        intercept=np.array([own[""] for own in weights], dtype=np.float32),
        slope=one,
        offset=0 * one,
    )


def fitted(*arms: str, encoder: str | None = None) -> FittedRouter:
    """A router of three arms, the dearest last."""
    return FittedRouter(
        arms=arms or ("lite", "flash", "pro"),
        nested=False,
        encoder=encoder or encoder_identity(RouterConfig(**policy()).encoder, ENCODER.dimensions),
        heads=heads(LITE, FLASH),
        bars=(0.5, 0.5),
        points=(
            OperatingPoint((ALWAYS, NEVER), 0.5, 1.0, (1.0, 0.0, 0.0)),
            OperatingPoint((0.9, 0.9), 0.9, 3.0, (0.0, 0.5, 0.5)),
            OperatingPoint((NEVER, NEVER), 1.0, 9.0, (0.0, 0.0, 1.0)),
        ),
        report=FitReport(labels="scores", prompts=9, held_out_by="prompt", measures={}),
    )


def leaf(name: str, tier: str) -> dict[str, Any]:
    """A route."""
    model = next(model for model, own in MODELS.items() if own["tier"] == tier)
    return {"name": name, "tier": tier, "model": model}


def policy(*routes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A policy of some routes; of a route a tier without any."""
    tiers = (leaf("cheap", "lite"), leaf("fair", "flash"), leaf("dear", "pro"))
    return {
        "version": 1,
        "default": "flash",
        "routes": list(routes or tiers),
        "models": MODELS,
        **more,
    }


def opinions(
    *texts: str, router: FittedRouter | None = None, routes: Any = (), **learned: Any
) -> list[Opinion]:
    """What the stage thinks of prompts."""
    stage = LearnedStage(router or fitted(), LearnedConfig(file=Path("fit"), **learned))
    chunk = Chunk([Reading(text) for text in texts], ReadingEmbedder(ENCODER))
    return stage.opinions(chunk, Fork("", RouterConfig(**policy(*routes)).routes))


def picks(*texts: str, **asked: Any) -> list[str | None]:
    """Which routes it takes."""
    return [opinion.pick for opinion in opinions(*texts, **asked)]


def test_the_cheapest_arm_that_is_probably_good_enough() -> None:
    """With all that is known: probabilities by arm, the way to the next bar, how hard it is."""
    found = opinions(*TEXTS)
    assert [one.pick for one in found] == ["cheap", "fair", "dear"]
    for one, lite, flash in zip(found, LITE_GOOD, FLASH_GOOD, strict=True):
        assert one.probabilities == pytest.approx(
            {"lite": lite, "flash": flash, "pro": 1}, abs=1e-4
        )
        assert one.difficulty == pytest.approx(1 - (lite + flash) / 2, abs=1e-4)
    bars_asked = [(LITE_GOOD[0],), (LITE_GOOD[1], FLASH_GOOD[1]), (LITE_GOOD[2], FLASH_GOOD[2])]
    nearest = [min(abs(probability - 0.5) for probability in asked) for asked in bars_asked]
    assert [one.margin for one in found] == pytest.approx(nearest, abs=1e-4)


def test_difficulty_goes_from_0_to_1() -> None:
    """However sure the heads are."""
    for odds, difficulty in ((50, 0), (-50, 1), (0, 0.5)):
        sure = FittedRouter(
            **{**vars(fitted()), "heads": heads({"": odds}, {"": odds})}  # one for all
        )
        assert opinions(EASY, router=sure)[0].difficulty == pytest.approx(difficulty)


@pytest.mark.parametrize(
    ("knob", "expected"),
    [
        ({}, ["cheap", "fair", "dear"]),
        ({"quality": 0.4}, ["cheap", "cheap", "cheap"]),
        ({"quality": 0.6}, ["fair", "dear", "dear"]),
        ({"quality": 1}, ["dear", "dear", "dear"]),
        ({"max_cost_per_1k": 2}, ["cheap", "cheap", "cheap"]),
        ({"max_cost_per_1k": 8.9}, ["fair", "dear", "dear"]),
        ({"max_cost_per_1k": 100}, ["dear", "dear", "dear"]),
    ],
)
def test_the_knob_chooses_other_bars(knob: dict[str, float], expected: list[str]) -> None:
    """The cheapest point that keeps the quality; the best that is not too dear."""
    assert picks(*TEXTS, **knob) == expected


def test_a_knob_out_of_reach_names_the_range() -> None:
    """When the stage is built, not when a prompt comes."""
    with pytest.raises(RouterFileError, match=r"1,000 prompts cost \$1\.0000 to \$9\.0000: allow"):
        opinions(EASY, max_cost_per_1k=0.5)
    weak = FittedRouter(**{**vars(fitted()), "points": fitted().points[:2]})
    with pytest.raises(RouterFileError, match=r"keeps 0\.5000 to 0\.9000 of the dearest arm's"):
        opinions(EASY, router=weak, quality=0.95)


def test_what_is_not_sure_enough_is_open() -> None:
    """What was seen stays on the record; the dearest arm is always sure."""
    easy, asks, code = opinions(*TEXTS, threshold=0.885)
    assert [easy.pick, asks.pick, code.pick] == [None, None, "dear"]
    assert asks.probabilities["flash"] == pytest.approx(FLASH_GOOD[1], abs=1e-4)
    assert asks.difficulty == pytest.approx(1 - (LITE_GOOD[1] + FLASH_GOOD[1]) / 2, abs=1e-4)
    assert asks.margin is None
    assert picks(EASY, ASKS, threshold=0.875) == ["cheap", "fair"]


@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        (("lite", "pro"), ["lite", "pro", "pro"]),
        (("pro", "flash"), ["flash", "flash", "pro"]),
        (("flash", "lite"), ["lite", "flash", "flash"]),
        (("pro",), [None, None, None]),
    ],
)
def test_a_fork_offers_the_arms_of_its_routes(
    tiers: tuple[str, ...], expected: list[str | None]
) -> None:
    """Its dearest takes what is left, in whatever order they are listed; one is no choice."""
    assert picks(*TEXTS, routes=[leaf(tier, tier) for tier in tiers]) == expected


def test_an_arm_keeps_its_bar_at_every_fork() -> None:
    """Whatever stands before it."""
    routes = [leaf("flash", "flash"), leaf("pro", "pro")]
    for bars, expected in (((0.0, 0.9), "pro"), ((1.0, 0.8), "flash")):
        router = FittedRouter(**{**vars(fitted()), "bars": bars})
        assert picks(ASKS, router=router, routes=routes) == [expected]


def test_of_routes_that_are_alike_the_first_is_taken() -> None:
    """Nothing tells them apart; a group has no tier of its own."""
    group = {"name": "group", "routes": [leaf("a", "lite"), leaf("b", "pro")]}
    routes = [group, leaf("one", "lite"), leaf("two", "lite"), leaf("dear", "pro")]
    assert picks(*TEXTS, routes=routes) == ["one", "dear", "dear"]
    assert picks(EASY, routes=[leaf("one", "lite"), leaf("two", "lite")]) == [None]


def test_arms_may_be_models() -> None:
    """A route is known by its model then."""
    models = fitted("small", "mid", "big")
    assert picks(*TEXTS, router=models) == ["cheap", "fair", "dear"]
    assert set(opinions(EASY, router=models)[0].probabilities) == {"small", "mid", "big"}
    turned = [leaf("x", "pro"), leaf("y", "lite")]
    assert picks(*TEXTS, router=models, routes=turned) == ["y", "x", "x"]


@pytest.mark.parametrize("blank", ["", " \n", "\u200b"])
def test_a_prompt_without_text_is_open(blank: str) -> None:
    """It harms none beside it; alone, too."""
    before, empty, after = opinions(EASY, blank, CODE)
    assert (before, after) == tuple(opinions(EASY, CODE))
    assert empty == Opinion()
    assert opinions(blank) == [Opinion()]
    assert opinions() == []


def decided(folder: Path, router: FittedRouter, *jobs: Job, **changes: Any) -> list[Decision]:
    """What a policy with this fitted router decides."""
    path = folder / "fit.npz"
    router.save(path)
    config = RouterConfig(**policy(**{"learned": {"file": path}, **changes}))
    decisions = PromptRouter(config).route(jobs)
    assert all(isinstance(decision, Decision) for decision in decisions)
    return [decision for decision in decisions if isinstance(decision, Decision)]


def test_a_policy_decides_by_it(tmp_path: Path) -> None:
    """Stage, route and model are on record; a picture alone goes to the default."""
    picture = Content(parts=(Part(file_data=FileData(file_uri="gs://x", mime_type="image/png")),))
    jobs = [Job(contents=text) for text in TEXTS]
    *told, seen = decided(tmp_path, fitted(), *jobs, Job(contents=(picture,)))
    assert [one.stage for one in told] == ["learned"] * 3
    assert [(one.route, one.model) for one in told] == [
        ("cheap", "small"),
        ("fair", "mid"),
        ("dear", "big"),
    ]
    assert (seen.stage, seen.tier, seen.difficulty) == ("default", "flash", None)


def test_sub_routes_are_chosen_by_tier(tmp_path: Path) -> None:
    """Behind a rule, without an utterance; harder prompts think more."""
    hard = leaf("hard", "pro") | {"bands": [{"difficulty": 0.8, "thinking_budget": 777}]}
    science = {"name": "science", "routes": [hard, leaf("easy", "lite")]}
    rules = [{"name": "all", "when": {"text": True}, "route": "science"}]
    jobs = [Job(contents=text) for text in TEXTS]
    found = decided(tmp_path, fitted(), *jobs, routes=[science, leaf("fair", "flash")], rules=rules)
    assert [one.route for one in found] == ["science/easy", "science/hard", "science/hard"]
    assert {one.stage for one in found} == {"learned"}
    assert [one.thinking_budget for one in found] == [None, None, 777]


def refused(folder: Path, router: FittedRouter, **changes: Any) -> str:
    """Why a policy with this fitted router cannot be built."""
    with pytest.raises(RouterFileError) as caught:
        decided(folder, router, **changes)
    return str(caught.value).replace(str(folder), "")


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    """The numbers would mean something else."""
    assert refused(tmp_path, fitted(encoder="gemini:embedding-1:768")) == (
        "learned.file: /fit.npz was fitted with the encoder gemini:embedding-1:768, but encoder: "
        "is static::256. Fit it again: promptyard fit."
    )


def test_routes_that_it_does_not_know_are_refused(tmp_path: Path) -> None:
    """It would leave every prompt open, and nobody would know why."""
    assert refused(tmp_path, fitted("a", "b", "c")) == (
        "learned.file: /fit.npz tells a, b, c apart, and no two routes beside each other have "
        "these as tier or model. Fit it again, with this router file: promptyard fit."
    )
    apart = [{"name": tier, "routes": [leaf("only", tier)]} for tier in ("lite", "pro")]
    assert "tells lite, flash, pro apart" in refused(tmp_path, fitted(), routes=apart)


def test_a_stage_without_a_file_is_refused() -> None:
    """Of a policy that was built in code; a file is checked when it is loaded."""
    with pytest.raises(RouterFileError, match="there is no learned: in the file"):
        PromptRouter(RouterConfig(**policy(stages=["learned"])))
