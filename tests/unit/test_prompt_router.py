"""PromptRouter: who decides for a job, and what the decision records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptyard_worker
from promptyard.job import Decision, ErrorType, Job, JobError
from promptyard.names import CLASSIFY_CHUNK, Tier
from promptyard_worker.routing import RouterConfig, load_router
from promptyard_worker.routing.router import PromptRouter

SHIPPED = load_router(Path(promptyard_worker.__file__).parents[2] / "router.yaml")
ROUTER = PromptRouter(SHIPPED)


def with_thresholds(threshold: float) -> PromptRouter:
    """The shipped policy with a bar on every route."""
    content: dict[str, Any] = SHIPPED.model_dump(mode="json")
    for route in content["routes"]:
        route["threshold"] = threshold
    return PromptRouter(RouterConfig.model_validate(content))


def decide(job: Job, router: PromptRouter = ROUTER) -> Decision:
    """The decision of one job."""
    (outcome,) = router.route([job])
    assert isinstance(outcome, Decision), outcome
    return outcome


@pytest.mark.parametrize(
    ("prompt", "tier"),
    [
        ("Prove that the square root of three is irrational.", Tier.PRO),
        ("Implement a thread-safe bounded queue in C++ without external libraries.", Tier.PRO),
        ("Write a short story about an old sailor and a bottle.", Tier.FLASH),
        ("Write a polite email to my neighbour about the noise.", Tier.FLASH),
        ("Translate into French: Where is the station?", Tier.LITE),
        ("Classify this review as positive or negative: I liked it.", Tier.LITE),
    ],
)
def test_clear_prompts_go_to_their_tier(prompt: str, tier: Tier) -> None:
    """The shipped policy on prompts that leave no doubt."""
    decision = decide(Job(contents=prompt))
    assert decision.stage == "semantic"
    assert decision.tier is tier
    assert decision.model == SHIPPED.default_model(tier)


def test_a_semantic_decision_records_why() -> None:
    """Scores of every route, the margin, the budget, the policy."""
    decision = decide(Job(contents="Prove that 7 is prime."))
    assert set(decision.scores) == {"pro", "flash", "lite"}
    best, second, _ = sorted(decision.scores.values(), reverse=True)
    assert decision.margin == pytest.approx(best - second, abs=2e-4)
    assert all(round(score, 4) == score for score in decision.scores.values())
    assert decision.route == "pro"
    assert decision.thinking_budget == -1
    assert decision.policy_version == SHIPPED.policy_version


def test_a_named_tier_is_explicit() -> None:
    """Its default model, with that model's budget; nothing is embedded."""
    decision = decide(Job(contents="Hi.", tier=Tier.PRO))
    assert decision.stage == "explicit"
    assert decision.model == "gemini-2.5-pro"
    assert decision.thinking_budget == -1
    assert decision.scores == {}
    assert decision.margin is None


def test_a_named_model_is_explicit_and_brings_its_tier() -> None:
    """Unless the job names a tier as well."""
    assert decide(Job(contents="Hi.", model="gemini-2.5-flash-lite")).tier is Tier.LITE
    both = decide(Job(contents="Hi.", model="gemini-2.5-flash-lite", tier=Tier.PRO))
    assert (both.tier, both.model) == (Tier.PRO, "gemini-2.5-flash-lite")


def test_a_job_with_an_unknown_model_hurts_itself_alone() -> None:
    """Its place in the list holds the error; its neighbours are decided."""
    jobs = [
        Job(contents="Hi."),
        Job(contents="Hi.", model="gpt-9"),
        Job(contents="Hi.", tier=Tier.LITE),
    ]
    first, second, third = ROUTER.route(jobs)
    assert isinstance(first, Decision)
    assert isinstance(second, JobError)
    assert second.type is ErrorType.INVALID_REQUEST
    assert "gpt-9" in second.message
    assert "gemini-2.5-flash" in second.message
    assert isinstance(third, Decision)


def test_a_tier_without_a_model_hurts_its_job_alone() -> None:
    """A policy need not serve every tier."""
    content: dict[str, Any] = SHIPPED.model_dump(mode="json")
    content["routes"] = [r for r in content["routes"] if r["tier"] == "flash"]
    del content["models"]["gemini-2.5-flash-lite"]
    router = PromptRouter(RouterConfig.model_validate(content))
    named, open_job = router.route([Job(contents="x", tier=Tier.LITE), Job(contents="Hello.")])
    assert isinstance(named, JobError)
    assert "lite" in named.message
    assert isinstance(open_job, Decision)
    assert open_job.margin is None  # one route: nothing to compare


def test_a_job_without_text_takes_the_default() -> None:
    """An image alone says nothing to the encoder."""
    blob = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    decision = decide(Job.model_validate({"contents": [{"parts": [blob]}]}))
    assert decision.stage == "default"
    assert decision.route is None
    assert (decision.tier, decision.model) == (Tier.FLASH, "gemini-2.5-flash")
    assert decision.thinking_budget == 0


def test_no_route_above_its_threshold_takes_the_default() -> None:
    """The scores stay on record."""
    decision = decide(Job(contents="Prove it."), with_thresholds(0.99))
    assert decision.stage == "default"
    assert decision.scores["pro"] > 0
    assert decide(Job(contents="Prove it."), with_thresholds(-1)).stage == "semantic"


def test_the_last_user_turn_decides() -> None:
    """A conversation is routed by what is asked now."""
    ask = "Translate into French: Where is the station?"
    turns = [
        {"role": "user", "parts": [{"text": "Prove that 2 + 2 = 4 by induction."}]},
        {"role": "model", "parts": [{"text": "..."}]},
        {"role": "user", "parts": [{"text": ask}]},
    ]
    talk, alone = ROUTER.route([Job.model_validate({"contents": turns}), Job(contents=ask)])
    assert isinstance(talk, Decision)
    assert isinstance(alone, Decision)
    assert talk.scores == alone.scores


def test_a_chunk_is_decided_as_its_jobs_alone() -> None:
    """Order and neighbours do not matter."""
    jobs = [Job(contents=f"Explain {topic}.") for topic in ("rain", "tax", "jazz", "gravity")]
    jobs = (jobs * CLASSIFY_CHUNK)[:CLASSIFY_CHUNK]
    together = ROUTER.route(jobs)
    assert [d.tier for d in together if isinstance(d, Decision)] == [decide(j).tier for j in jobs]
    assert ROUTER.route([]) == []


def test_an_explanation_shows_the_nearest_utterances() -> None:
    """Five, nearest first, and the decision that route() would make."""
    text = "Translate into French: Where is the nearest pharmacy?"
    explanation = ROUTER.explain(text)
    assert explanation.decision == decide(Job(contents=text))
    assert len(explanation.nearest) == 5
    assert explanation.nearest[0].route == "lite"
    assert explanation.nearest[0].utterance == text
    similarities = [neighbour.similarity for neighbour in explanation.nearest]
    assert similarities == sorted(similarities, reverse=True)
