"""RulesStage: which rule takes a prompt; the searches have tests of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from promptyard.errors import RouterFileError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.rules import RulesStage
from promptyard_worker.routing.stage import Chunk, Destination, Fork, Opinion, Vectors
from promptyard_worker.routing.stages import RuleConfig

ROOT = Fork("", ())
IMAGE = {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}
FENCED = "Why does this fail?\n```\nx = 1\n```"


class Unasked:
    """Rules embed nothing."""

    def embed(self, readings: Sequence[Reading]) -> Vectors:
        """Fail."""
        raise AssertionError("a rule asked for vectors")


def stage(**whens: dict[str, Any]) -> RulesStage:
    """One rule a keyword argument, by its name, in this order."""
    return RulesStage(
        tuple(
            RuleConfig.model_validate({"name": name, "when": when, "tier": "pro"})
            for name, when in whens.items()
        )
    )


def opinion(rules: RulesStage, job: Job | str) -> Opinion:
    """What the rules think of one job."""
    whole = Job(contents=job) if isinstance(job, str) else job
    (found,) = rules.opinions(Chunk([Reading.of(whole, context_turns=2)], Unasked()), ROOT)
    return found


def matches(when: dict[str, Any], job: Job | str) -> bool:
    """Whether a rule of these conditions takes the job."""
    return opinion(stage(only=when), job).is_sure


def job_of(*parts: dict[str, Any], **options: Any) -> Job:
    """A job of one user turn."""
    return Job.model_validate({"contents": [{"parts": list(parts)}], **options})


def test_the_first_rule_that_matches_wins() -> None:
    """Its name and its target are the opinion."""
    rules = stage(sums={"keywords": ["sum"]}, proofs={"keywords": ["prove", "sum"]})
    assert opinion(rules, "Find the sum.").rule == "sums"
    assert opinion(rules, "Prove it.").rule == "proofs"
    assert opinion(rules, "Hello.") == Opinion()


@pytest.mark.parametrize(
    "target",
    [
        {"tier": Tier.LITE},
        {"route": "maths/hard", "thinking_budget": -1},
        {"model": "gemini-2.5-pro", "thinking_budget": 0},
    ],
)
def test_a_rule_names_a_tier_a_route_or_a_model(target: dict[str, Any]) -> None:
    """With a thinking budget, where it gives one."""
    rule = RuleConfig.model_validate({"name": "x", "when": {"keywords": ["sum"]}, **target})
    assert opinion(RulesStage((rule,)), "A sum.").destination == Destination(**target)


def test_rules_are_asked_at_the_root_alone() -> None:
    """Behind a route, they have nothing to say."""
    readings = [Reading("Prove it."), Reading("Prove it.")]
    rules = stage(proofs={"keywords": ["prove"]})
    assert [o.is_sure for o in rules.opinions(Chunk(readings, Unasked()), ROOT)] == [True, True]
    assert rules.opinions(Chunk(readings, Unasked()), Fork("maths", ())) == [Opinion()] * 2
    assert rules.opinions(Chunk([], Unasked()), ROOT) == []


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"tokens": {"min": 100}}, True),
        ({"tokens": {"min": 101}}, False),
        ({"tokens": {"max": 100}}, True),
        ({"tokens": {"max": 99}}, False),
        ({"tokens": {"min": 100, "max": 100}}, True),
        ({"language": ["en"]}, True),
        ({"language": ["de", "fr"]}, False),
        ({"text": True}, True),
        ({"text": False}, False),
        ({"has": ["code"]}, False),
        ({"response_schema": True}, False),
        ({"response_schema": False}, True),
        ({"tokens": {"min": 100}, "language": ["en"], "keywords": ["dog"]}, True),
        ({"tokens": {"min": 100}, "language": ["en"], "keywords": ["cat"]}, False),
    ],
)
def test_every_condition_must_hold(when: dict[str, Any], expected: bool) -> None:
    """Of a plain English text of 100 tokens."""
    assert matches(when, ("The dog sleeps under the old tree. " * 20)[:400]) is expected


@pytest.mark.parametrize(
    ("has", "job", "expected"),
    [
        (["image"], job_of(IMAGE), True),
        (["audio", "image"], job_of({"text": "What is it?"}, IMAGE), True),
        (["audio", "code"], job_of({"text": "What is it?"}, IMAGE), False),
        (["code"], job_of({"text": FENCED}), True),
        (["image", "code"], job_of({"text": FENCED}), True),
        (["image"], job_of({"text": FENCED}), False),
    ],
)
def test_has_asks_for_any_of_several(has: list[str], job: Job, expected: bool) -> None:
    """Media or code."""
    assert matches({"has": has}, job) is expected


def test_a_prompt_without_text_is_routed_by_rule() -> None:
    """An instruction or an earlier turn is text."""
    rules = stage(pictures={"text": False})
    assert opinion(rules, job_of(IMAGE)).rule == "pictures"
    assert not opinion(rules, job_of(IMAGE, system_instruction="Describe it.")).is_sure


@pytest.mark.parametrize(
    ("wanted", "metadata", "expected"),
    [
        ({"team": "a"}, {"team": "a", "cost": 1}, True),
        ({"team": "a"}, {"team": "b"}, False),
        ({"team": "a", "cost": 1}, {"team": "a"}, False),
        ({"team": None}, {}, False),
        ({"team": None}, {"team": None}, True),
        ({"n": 1}, {"n": 1.0}, True),
        ({"n": 1}, {"n": True}, False),
        ({"n": [0, {"x": 1}]}, {"n": [False, {"x": 1}]}, False),
        ({"n": [0, {"x": 1}]}, {"n": [0, {"x": 1}]}, True),
        ({"n": [0]}, {"n": [0, 1]}, False),
        ({"n": {"x": 1}}, {"n": {"x": 1, "y": 2}}, False),
        ({"n": {"x": []}}, {"n": {"x": {}}}, False),
    ],
)
def test_metadata_is_equal_in_depth(
    wanted: dict[str, Any], metadata: dict[str, Any], expected: bool
) -> None:
    """As JSON: true is not 1; other keys at the top do not matter."""
    assert matches({"metadata": wanted}, Job(contents="Hi.", metadata=metadata)) is expected


def test_a_schema_is_a_condition() -> None:
    """The job asks for JSON."""
    job = Job(contents="Hi.", response_schema={"type": "object"})
    assert matches({"response_schema": True}, job)


def test_what_is_costly_is_not_asked_without_need() -> None:
    """Language and code are looked for once, by the first rule that gets so far."""
    reading = Reading("The dog sleeps under the old tree.")
    rules = stage(
        a={"keywords": ["cat"], "language": ["en"]}, b={"has": ["image"]}, c={"text": False}
    )
    rules.opinions(Chunk([reading], Unasked()), ROOT)
    assert not {"language", "has_code", "has"} & set(vars(reading))


def test_a_rule_that_cannot_be_compiled_is_named() -> None:
    """Should a policy built in code not have been checked."""
    with pytest.raises(RouterFileError, match=r"The rule 'odd' .* no lookaround"):
        stage(fine={"regex": "a"}, odd={"regex": "(?=a)b"})
