"""PromptRouter with real stages: who decides for a job, and what the decision records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import promptyard_worker
from promptyard.job import Decision, ErrorType, Job, JobError
from promptyard.names import CLASSIFY_CHUNK, Tier
from promptyard_worker.routing import RouterConfig, load_router
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.router import PromptRouter

PROOF = "Prove that the square root of three is irrational."
POEM = "Write a poem about the sea."
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
POLICY: dict[str, Any] = {
    "version": 1,
    "default": "flash",
    "routes": [
        {
            "name": "science",
            "routes": [
                {
                    "name": "proofs",
                    "tier": "pro",
                    "model": "big",
                    "thinking_budget": -1,
                    "utterances": ["Prove that the sum is even.", "Show that 2 is prime."],
                },
                {
                    "name": "facts",
                    "tier": "lite",
                    "model": "small",
                    "utterances": ["How far is the moon?", "What is the speed of light?"],
                },
            ],
        },
        {
            "name": "poems",
            "tier": "flash",
            "model": "mid",
            "thinking_budget": 0,
            "utterances": ["Write a poem about rain.", "Compose a song for my friend."],
        },
    ],
    "models": {
        name: {
            "tier": tier,
            "price": {"input": price, "output": 10 * price},
            "context_window": 100_000,
            "timeout_s": 5,
            "typical_output_tokens": 400,
        }
        for name, tier, price in (("big", "pro", 5), ("mid", "flash", 1), ("small", "lite", 0.1))
    },
}


def policy(**changes: Any) -> RouterConfig:
    """The policy, with other values for some keys."""
    return RouterConfig.model_validate({**POLICY, **changes})


ROUTER = PromptRouter(policy())


def decide(job: Job | str, router: PromptRouter = ROUTER) -> Decision:
    """The decision of one job."""
    (outcome,) = router.route([Job(contents=job) if isinstance(job, str) else job])
    assert isinstance(outcome, Decision), outcome
    return outcome


def turns(*texts: str) -> Job:
    """A conversation that the user begins and ends."""
    roles = ["user", "model"] * len(texts)
    contents = [
        {"role": role, "parts": [{"text": text}]} for role, text in zip(roles, texts, strict=False)
    ]
    return Job.model_validate({"contents": contents})


@pytest.mark.parametrize(
    ("prompt", "tier"),
    [
        (PROOF, Tier.PRO),
        ("Implement a thread-safe bounded queue in C++ without external libraries.", Tier.PRO),
        ("Write a short story about an old sailor and a bottle.", Tier.FLASH),
        ("Write a polite email to my neighbour about the noise.", Tier.FLASH),
        ("Translate into French: Where is the station?", Tier.LITE),
        ("Classify this review as positive or negative: I liked it.", Tier.LITE),
    ],
)
def test_the_shipped_policy_sends_clear_prompts_to_their_tier(prompt: str, tier: Tier) -> None:
    """Prompts that leave no doubt, whatever stage decides."""
    shipped = load_router(Path(promptyard_worker.__file__).parents[2] / "router.yaml")
    decision = decide(prompt, PromptRouter(shipped))
    assert (decision.tier, decision.model) == (tier, shipped.default_model(tier))


def test_a_semantic_decision_records_why() -> None:
    """Path, scores of both forks, the last one's margin and neighbours, budget, policy."""
    decision = decide(PROOF)
    assert (decision.stage, decision.route) == ("semantic", "science/proofs")
    assert (decision.tier, decision.model) == (Tier.PRO, "big")
    assert set(decision.scores) == {"science", "poems", "science/proofs", "science/facts"}
    lead = decision.scores["science/proofs"] - decision.scores["science/facts"]
    assert decision.margin == pytest.approx(lead, abs=2e-4)
    assert [near.route for near in decision.nearest][:1] == ["science/proofs"]
    assert len(decision.nearest) == 3
    assert decision.thinking_budget == -1
    assert decision.policy_version == ROUTER.config.policy_version


def test_what_is_said_of_similarities_is_said_of_probabilities_too() -> None:
    """With a calibration both are on record, by route."""
    calibration = {"method": "platt", "params": {"a": [6], "b": [-2]}}
    decision = decide(PROOF, PromptRouter(policy(semantic={"calibration": calibration})))
    assert set(decision.probabilities) == set(decision.scores)
    assert all(0 < probability < 1 for probability in decision.probabilities.values())


def test_a_rule_comes_before_meaning_and_leaves_the_rest_to_it() -> None:
    """The first stage takes what it knows; in a group it named, meaning goes on."""
    rules = [
        {"name": "sea", "when": {"keywords": ["sea"]}, "model": "small"},
        {"name": "roots", "when": {"keywords": ["root"]}, "route": "science", "thinking_budget": 9},
    ]
    router = PromptRouter(policy(rules=rules))
    by_rule, inside = decide(POEM, router), decide(PROOF, router)
    assert (by_rule.stage, by_rule.rule, by_rule.model) == ("rules", "sea", "small")
    assert by_rule.scores == {}
    assert (inside.stage, inside.rule, inside.route) == ("semantic", "roots", "science/proofs")
    assert set(inside.scores) == {"science/proofs", "science/facts"}
    assert inside.thinking_budget == 9
    assert decide("Write a poem about rain.", router).stage == "semantic"


def test_no_route_above_its_threshold_takes_the_default() -> None:
    """The scores stay on record."""
    decision = decide(PROOF, PromptRouter(policy(semantic={"threshold": 0.99})))
    assert (decision.stage, decision.route, decision.model) == ("default", None, "mid")
    assert decision.scores["science"] > 0
    assert decision.thinking_budget == 0  # as the first route that calls the model has it


def test_a_prompt_without_text_takes_the_default_or_a_rule() -> None:
    """An image alone says nothing to the encoder; it is never refused."""
    job = Job.model_validate({"contents": [{"parts": [IMAGE]}]})
    decision = decide(job)
    assert (decision.stage, decision.route, decision.model) == ("default", None, "mid")
    assert decision.nearest == ()
    rules = [{"name": "pictures", "when": {"has": ["image"], "text": False}, "model": "big"}]
    router = PromptRouter(policy(rules=rules))
    assert decide(job, router).rule == "pictures"
    described = {"contents": [{"parts": [IMAGE, {"text": POEM}]}]}
    assert decide(Job.model_validate(described), router).route == "poems"


def test_turns_before_the_last_one_count_within_the_window() -> None:
    """The last turn alone often hides the intent."""
    ask = "Now another one, about my friend."
    talk = turns(PROOF, "Suppose that it were rational...", ask)
    alone = PromptRouter(policy(context_turns=0))
    window = PromptRouter(policy(context_turns=2))
    assert decide(talk, alone).scores == decide(ask, alone).scores
    assert decide(talk, alone).route == "poems"
    assert decide(talk, window).route == "science/proofs"
    late = turns(POEM, "...", *(["Go on.", "..."] * 3), "What is the speed of light?")
    assert decide(late, window).route == "science/facts"


def test_a_system_instruction_is_read_too() -> None:
    """In bulk it often holds the task."""
    job = Job(contents="The sea.", system_instruction="Write a poem about what the user names.")
    assert decide(job).route == "poems"


def test_a_prompt_is_embedded_once_for_all_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a chunk."""
    calls: list[int] = []
    embed = ReadingEmbedder.embed

    def counted(self: ReadingEmbedder, readings: list[Reading]) -> Any:
        calls.append(len(readings))
        return embed(self, readings)

    monkeypatch.setattr(ReadingEmbedder, "embed", counted)
    found = ROUTER.route([Job(contents=PROOF), Job(contents=POEM), Job(contents=PROOF)])
    assert calls == [3]
    assert [one.route for one in found if isinstance(one, Decision)] == [
        "science/proofs",
        "poems",
        "science/proofs",
    ]


def test_the_estimated_cost_is_right() -> None:
    """Prompt tokens by the estimate of text and media, answer as the model's usual one."""
    text = (POEM * 2000)[:40_000]  # 10,000 tokens
    assert decide(text).estimated_cost_usd == 0.010 + 0.004
    seen = Job.model_validate({"contents": [{"parts": [IMAGE, {"text": POEM}]}]})
    tokens = Reading.of(seen, context_turns=2).token_count
    assert decide(seen).estimated_cost_usd == pytest.approx(tokens * 1e-6 + 0.004)
    long = {"above_tokens": 9_000, "input": 3, "output": 20}
    models = {**POLICY["models"], "mid": {**POLICY["models"]["mid"]}}
    models["mid"]["price"] = {"input": 1, "output": 10, "long_context": long}
    router = PromptRouter(policy(models=models))
    assert decide(text, router).estimated_cost_usd == 0.030 + 0.008


def test_a_named_tier_or_model_is_explicit() -> None:
    """No stage is asked; a model brings its tier, unless the job names that as well."""
    rules = [{"name": "all", "when": {"text": True}, "model": "mid"}]
    router = PromptRouter(policy(rules=rules))
    tier = decide(Job(contents="Hi.", tier=Tier.PRO), router)
    assert (tier.stage, tier.model, tier.thinking_budget) == ("explicit", "big", -1)
    assert (tier.scores, tier.margin, tier.rule, tier.nearest) == ({}, None, None, ())
    assert decide(Job(contents="Hi.", model="small"), router).tier is Tier.LITE
    both = decide(Job(contents="Hi.", model="small", tier=Tier.PRO), router)
    assert (both.tier, both.model) == (Tier.PRO, "small")


def test_a_job_with_an_unknown_model_hurts_itself_alone() -> None:
    """Its place in the list holds the error; its neighbours are decided."""
    jobs = [Job(contents=PROOF), Job(contents="Hi.", model="gpt-9"), Job(contents=POEM)]
    first, second, third = ROUTER.route(jobs)
    assert isinstance(first, Decision)
    assert isinstance(second, JobError)
    assert second.type is ErrorType.INVALID_REQUEST
    assert "gpt-9" in second.message
    assert "big, mid, small" in second.message
    assert isinstance(third, Decision)
    assert (first.route, third.route) == ("science/proofs", "poems")


def test_a_tier_without_a_model_hurts_its_job_alone() -> None:
    """A policy need not serve every tier."""
    models = {"mid": POLICY["models"]["mid"]}
    router = PromptRouter(policy(routes=[POLICY["routes"][1]], models=models))
    named, open_job = router.route([Job(contents="x", tier=Tier.LITE), Job(contents=POEM)])
    assert isinstance(named, JobError)
    assert "lite" in named.message
    assert isinstance(open_job, Decision)
    assert open_job.margin is None  # one route: nothing to compare


def test_a_chunk_is_decided_as_its_jobs_alone() -> None:
    """Order and neighbours do not matter."""
    jobs = [Job(contents=f"Explain {topic}.") for topic in ("rain", "tax", "jazz", "gravity")]
    jobs = (jobs * CLASSIFY_CHUNK)[:CLASSIFY_CHUNK]
    together = ROUTER.route(jobs)
    assert [d.route for d in together if isinstance(d, Decision)] == [decide(j).route for j in jobs]
    assert ROUTER.route([]) == []


def test_an_explanation_is_the_decision_with_more_neighbours() -> None:
    """Five where there are so many; errors and explicit decisions as they are."""
    router = PromptRouter(policy(routes=[POLICY["routes"][1], *POLICY["routes"][0]["routes"]]))
    job = Job(contents=POEM)
    explained, decided = router.explain(job), decide(job, router)
    assert isinstance(explained, Decision)
    assert len(explained.nearest) == 5
    assert explained.nearest[:3] == decided.nearest
    assert explained.model_copy(update={"nearest": decided.nearest}) == decided
    assert router.explain(Job(contents="Hi.", tier=Tier.LITE)) == decide(
        Job(contents="Hi.", tier=Tier.LITE), router
    )
    assert isinstance(router.explain(Job(contents="Hi.", model="gpt-9")), JobError)
