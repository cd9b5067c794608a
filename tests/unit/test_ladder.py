"""The ladder of stages: who is asked what, and what the decision makes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from promptyard.job import Decision, Job
from promptyard.names import Tier
from promptyard_worker.routing import RouterConfig, router
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.stage import Chunk, Destination, Fork, Opinion

BANDS = [
    {"difficulty": 0.5, "thinking_budget": 1000},
    {"difficulty": 0.8, "thinking_budget": 8000},
]
MATHS = {
    "name": "maths",
    "routes": [
        {"name": "hard", "tier": "pro", "model": "big", "thinking_budget": 0, "bands": BANDS},
        {"name": "easy", "tier": "flash", "model": "mid"},
    ],
}
POOLS = {
    "name": "pools",
    "routes": [
        {"name": "west", "routes": [{"name": "only", "tier": "pro", "model": "big"}]},
        {"name": "east", "tier": "lite", "model": "small"},
    ],
}
CHAT = {"name": "chat", "tier": "lite", "model": "small", "thinking_budget": 64}
PRICE = {"input": 1, "output": 2}
POLICY = RouterConfig.model_validate(
    {
        "version": 1,
        "default": "flash",
        "routes": [MATHS, POOLS, CHAT],
        "models": {
            name: {"tier": tier, "price": PRICE, "context_window": 9000, "timeout_s": 5}
            for name, tier in (("big", "pro"), ("mid", "flash"), ("small", "lite"))
        },
    }
)

#: What to say by text at the root, by address and text behind it.
Script = dict[Any, Opinion]

SURE = Opinion(pick="chat")
OPEN = Opinion()


class Scripted:
    """A stage that says what it was told to, by text, at every fork or at one."""

    def __init__(self, name: str, says: Script) -> None:
        self.name = name
        self.asked: list[tuple[str, list[str]]] = []
        self._says = says

    def opinions(self, chunk: Chunk, fork: Fork) -> list[Opinion]:
        """As told; open otherwise."""
        texts = [reading.text for reading in chunk.readings]
        self.asked.append((fork.address, texts))
        keys = [(fork.address, text) if fork.address else text for text in texts]
        return [self._says.get(key, OPEN) for key in keys]


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Decides for prompts by scripted stages."""

    def decide(stages: Sequence[Scripted], *texts: str) -> list[Decision]:
        embedder = ReadingEmbedder(StaticEncoder())
        monkeypatch.setattr(router, "assemble", lambda *_: (embedder, tuple(stages)))
        outcomes = PromptRouter(POLICY).route([Job(contents=text) for text in texts])
        return [outcome for outcome in outcomes if isinstance(outcome, Decision)]

    return decide


def test_each_stage_is_asked_what_those_before_left_open(decide: Any) -> None:
    """In their order, a chunk at once; when nothing is open nobody is asked."""
    first = Scripted("rules", {"a": SURE})
    second = Scripted("semantic", {"b": SURE, "c": SURE})
    third = Scripted("judge", {})
    found = decide([first, second, third], "a", "b", "c")
    assert [one.stage for one in found] == ["rules", "semantic", "semantic"]
    assert first.asked == [("", ["a", "b", "c"])]
    assert second.asked == [("", ["b", "c"])]
    assert third.asked == []


def test_the_order_of_the_stages_decides(decide: Any) -> None:
    """Not their names."""
    yes, no = Opinion(pick="chat"), Opinion(pick="pools")
    (one,) = decide([Scripted("judge", {"a": yes}), Scripted("rules", {"a": no})], "a")
    assert (one.stage, one.route) == ("judge", "chat")


def test_what_nobody_is_sure_of_takes_the_default_tier(decide: Any) -> None:
    """All that was seen stays on record."""
    seen = Opinion(scores={"chat": 0.4, "maths": 0.3}, margin=0.1)
    guess = Opinion(probabilities={"chat": 0.6}, difficulty=0.9, margin=0.2, reason="Unclear.")
    (one,) = decide([Scripted("semantic", {"a": seen}), Scripted("judge", {"a": guess})], "a")
    assert (one.stage, one.route) == ("default", None)
    assert (one.tier, one.model) == (Tier.FLASH, "mid")
    assert (one.scores, one.probabilities) == (seen.scores, guess.probabilities)
    assert (one.margin, one.difficulty, one.reason) == (0.1, 0.9, "Unclear.")


def test_a_group_is_the_next_fork(decide: Any) -> None:
    """The stages are asked again, with its routes; the record has the path and both forks."""
    root = Opinion(pick="maths", scores={"maths": 0.9, "chat": 0.1}, margin=0.8)
    inside = Opinion(pick="hard", scores={"hard": 0.5, "easy": 0.4}, margin=0.1)
    stage = Scripted("semantic", {"a": root, ("maths", "a"): inside, "b": SURE})
    one, other = decide([stage], "a", "b")
    assert stage.asked == [("", ["a", "b"]), ("maths", ["a"])]
    assert (one.route, one.tier, one.model) == ("maths/hard", Tier.PRO, "big")
    assert one.scores == {"maths": 0.9, "chat": 0.1, "maths/hard": 0.5, "maths/easy": 0.4}
    assert (one.stage, one.margin) == ("semantic", 0.1)
    assert (other.route, other.scores) == ("chat", {})


def test_forks_may_be_decided_by_different_stages(decide: Any) -> None:
    """On record is who ended it, with the reason given last."""
    meaning = Scripted("semantic", {"a": Opinion(pick="maths", margin=0.5)})
    judge = Scripted("judge", {("maths", "a"): Opinion(pick="easy", reason="One step.")})
    (one,) = decide([meaning, judge], "a")
    assert (one.stage, one.route, one.reason) == ("judge", "maths/easy", "One step.")
    assert one.margin is None  # it compares nothing


def test_who_is_unsure_inside_a_group_stays_in_it(decide: Any) -> None:
    """On the route of the default tier, else the first one, however deep."""
    picks: Script = {
        "a": Opinion(pick="maths", margin=0.5),
        "b": Opinion(pick="pools", reason="Far."),
    }
    inside: Script = {("maths", "a"): Opinion(margin=0.01)}
    one, other = decide([Scripted("semantic", {**picks, **inside})], "a", "b")
    assert (one.stage, one.route, one.model) == ("default", "maths/easy", "mid")
    assert one.margin == 0.01  # of the fork where it was unsure
    assert (other.stage, other.route, other.model) == ("default", "pools/west/only", "big")
    assert other.reason == "Far."


def test_a_doubt_is_forgotten_once_another_stage_is_sure(decide: Any) -> None:
    """The reason on record is that of the decision."""
    doubt = Opinion(reason="Could be either.")
    stages = [Scripted("judge", {"a": doubt, "b": doubt}), Scripted("learned", {"a": SURE})]
    sure, unsure = decide(stages, "a", "b")
    assert (sure.stage, sure.reason) == ("learned", None)
    assert (unsure.stage, unsure.reason) == ("default", "Could be either.")


@pytest.mark.parametrize(
    ("destination", "route", "tier", "model", "budget"),
    [
        (Destination(route="chat"), "chat", "lite", "small", 64),
        (Destination(tier=Tier.LITE), None, "lite", "small", None),
        (Destination(model="big"), None, "pro", "big", 0),
        (Destination(route="maths/easy"), "maths/easy", "flash", "mid", None),
        (Destination(model="big", thinking_budget=-1), None, "pro", "big", -1),
        (Destination(route="chat", thinking_budget=0), "chat", "lite", "small", 0),
    ],
)
def test_a_rule_names_a_route_a_tier_or_a_model(
    decide: Any, destination: Destination, route: str | None, tier: str, model: str,
    budget: int | None,
) -> None:  # fmt: skip
    """What it does not say comes from the policy; its thinking budget wins."""
    rule = Opinion(destination=destination, rule="r1")
    (one,) = decide([Scripted("rules", {"a": rule})], "a")
    assert (one.stage, one.rule, one.route) == ("rules", "r1", route)
    assert (one.tier, one.model, one.thinking_budget) == (tier, model, budget)


def test_a_rule_that_names_a_group_goes_on_inside_it(decide: Any) -> None:
    """The rule and its budget stay on record, whoever decides there."""
    group = Opinion(destination=Destination(route="maths", thinking_budget=77), rule="sums")
    rules = Scripted("rules", {"a": group, "b": group})
    meaning = Scripted("semantic", {("maths", "a"): Opinion(pick="hard")})
    one, other = decide([rules, meaning], "a", "b")
    assert meaning.asked == [("maths", ["a", "b"])]
    assert (one.stage, one.route, one.rule) == ("semantic", "maths/hard", "sums")
    assert (other.stage, other.route, other.rule) == ("default", "maths/easy", "sums")
    assert one.thinking_budget == other.thinking_budget == 77


@pytest.mark.parametrize(
    ("difficulty", "budget"), [(None, 0), (0.49, 0), (0.5, 1000), (0.79, 1000), (0.8, 8000)]
)
def test_harder_prompts_think_more(decide: Any, difficulty: float | None, budget: int) -> None:
    """By the route's bands, whoever decided; a route without any keeps its budget."""
    knows = Scripted("learned", {text: Opinion(difficulty=difficulty) for text in ("a", "b", "c")})
    rule = Destination(route="maths/hard", thinking_budget=5)
    ends: Script = {
        "a": Opinion(destination=Destination(route="maths/hard")),
        "b": SURE,
        "c": Opinion(destination=rule),
    }
    banded, plain, ruled = decide([knows, Scripted("rules", ends)], "a", "b", "c")
    assert (banded.thinking_budget, plain.thinking_budget, ruled.thinking_budget) == (budget, 64, 5)
    assert banded.difficulty == difficulty


def test_figures_go_on_record_rounded(decide: Any) -> None:
    """Four digits; the record of every job has them."""
    opinion = Opinion(
        pick="chat", scores={"chat": 0.123456}, probabilities={"chat": 2 / 3}, margin=1 / 3
    )
    (one,) = decide([Scripted("semantic", {"a": opinion})], "a")
    assert (one.scores, one.probabilities) == ({"chat": 0.1235}, {"chat": 0.6667})
    assert one.margin == 0.3333
    assert one.policy_version == POLICY.policy_version
