"""The whole line: submit -> classify -> tiers -> results, with real processes."""

from __future__ import annotations

import base64
import json

import pytest
from celery import Celery
from celery.result import AsyncResult

from promptyard.job import ErrorType, Job, JobResult, JobState
from promptyard.names import Tier
from promptyard.store import keys
from promptyard_worker.celery_app import create_app
from tests.process.conftest import MARKED_KEY, ROOT, Yard

pytestmark = pytest.mark.process

#: A 1x1 picture.
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c626001000000ffff03000006000557"
        "bfabd40000000049454e44ae426082"
    )
).decode()
#: Tokens the stand-in counts for a picture.
PICTURE_TOKENS = 258


def example_jobs(count: int) -> list[Job]:
    """The first example prompts, as a user's file would become jobs."""
    lines = (ROOT / "examples" / "prompts.jsonl").read_text().splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    return [
        Job(contents=row["prompt"], custom_id=row["custom_id"], metadata=row["metadata"])
        for row in rows
    ]


def assert_complete(result: JobResult, yard: Yard) -> None:
    """A succeeded, classified result says all it should."""
    catalog = yard.producer.catalog()
    assert catalog is not None
    assert result.status is JobState.SUCCEEDED
    assert result.text
    decision, timings = result.decision, result.timings
    assert decision is not None
    assert decision.stage in {"semantic", "learned"}
    assert decision.route in {"pro", "flash", "lite"}
    assert set(decision.scores) == {"pro", "flash", "lite"}
    if decision.stage == "learned":
        assert set(decision.probabilities) == {"pro", "flash", "lite"}
        assert decision.difficulty is not None
    assert decision.margin is not None
    assert decision.nearest
    assert decision.estimated_cost_usd is not None
    assert decision.policy_version == catalog.policy_version
    assert (result.tier, result.model) == (decision.tier, decision.model)
    assert result.model_version is not None
    assert result.model_version.endswith("-simulated")
    assert [attempt.error for attempt in result.attempts] == [None]
    assert result.usage.prompt_tokens > 0
    assert result.usage.output_tokens > 0
    assert result.cost_usd > 0
    price = catalog.models[decision.model].price
    assert result.cost_usd == pytest.approx(price.cost_usd(result.usage), abs=1e-12)
    assert timings is not None
    assert timings.routed is not None
    assert timings.started is not None
    assert timings.accepted <= timings.routed <= timings.started <= timings.finished


def test_a_varied_batch_goes_through_once(yard: Yard) -> None:
    """Sixty prompts: every one succeeds, is called once, and its result is whole."""
    jobs = example_jobs(60)
    batch = yard.producer.submit_batch(jobs)
    status = yard.finish(batch)
    results = {result.id: result for result in yard.producer.follow(batch)}
    assert set(results) == {job.id for job in jobs}
    for job in jobs:
        result = results[job.id]
        assert_complete(result, yard)
        assert (result.custom_id, result.metadata) == (job.custom_id, job.metadata)
        assert result.batch_id == batch.id
    stats = yard.sim.stats()
    assert (stats["calls"], stats["prompts"], stats["calls_per_prompt_max"]) == (60, 60, 1)
    assert stats["prompts_succeeded"] == 60
    assert all(yard.calls(job.text) == 1 for job in jobs)
    assert {result.tier for result in results.values()} == set(Tier)
    assert status.counts[JobState.SUCCEEDED] == 60
    assert status.retries == status.fallbacks == 0
    assert status.cost_usd == pytest.approx(sum(r.cost_usd for r in results.values()), abs=1e-7)
    assert status.usage.prompt_tokens == sum(r.usage.prompt_tokens for r in results.values())
    by_tier = [result.tier for result in results.values()]
    for tier in Tier:
        assert status.tiers[tier].routed == status.tiers[tier].finished == by_tier.count(tier)


def test_pro_thinks_and_lite_does_not(yard: Yard) -> None:
    """The thinking budget of the route reaches the model, and thoughts are priced as output."""
    pro = yard.run_one(Job(contents="Think about the tides.", tier=Tier.PRO))
    lite = yard.run_one(Job(contents="Think about the tides.", tier=Tier.LITE))
    assert pro.decision is not None
    assert pro.decision.thinking_budget == -1
    assert pro.usage.thinking_tokens > 0
    assert lite.usage.thinking_tokens == 0


@pytest.mark.parametrize("tier", list(Tier))
def test_an_explicit_tier_is_kept(yard: Yard, tier: Tier) -> None:
    """A job that names its tier is not classified; the record says so."""
    result = yard.run_one(Job(contents=f"A prompt for {tier}.", tier=tier))
    catalog = yard.producer.catalog()
    assert catalog is not None
    assert result.status is JobState.SUCCEEDED
    assert (result.tier, result.model) == (tier, catalog.tier_models[tier])
    assert result.decision is not None
    assert (result.decision.stage, result.decision.tier) == ("explicit", tier)
    assert result.decision.policy_version == catalog.policy_version


def test_an_explicit_model_is_kept(yard: Yard) -> None:
    """A job that names its model lands on that model, in the model's own tier."""
    prompt = "Prove that every finite integral domain is a field."
    result = yard.run_one(Job(contents=prompt, model="gemini-2.5-flash-lite"))
    assert (result.tier, result.model) == (Tier.LITE, "gemini-2.5-flash-lite")
    assert result.decision is not None
    assert result.decision.stage == "explicit"
    assert yard.sim.stats()["calls_by_model"] == {"gemini-2.5-flash-lite": 1}


def test_an_unknown_model_fails_alone(yard: Yard) -> None:
    """With or without a tier, before a call, and its neighbours go on."""
    bad = [
        Job(contents="a", model="gpt-9", custom_id="bad"),
        Job(contents="b", model="gpt-9", tier=Tier.PRO, custom_id="bad"),
    ]
    good = [Job(contents=f"Translate {n} into French.") for n in range(5)]
    results = yard.run([*good[:2], bad[0], bad[1], *good[2:]])
    for job in bad:
        failed = results[job.id]
        assert failed.status is JobState.FAILED
        assert failed.error is not None
        assert failed.error.type is ErrorType.INVALID_REQUEST
        assert "gpt-9" in failed.error.message
        assert "gemini-2.5-pro" in failed.error.message, "the remedy names the known models"
    assert all(results[job.id].ok for job in good)
    assert yard.sim.stats()["calls"] == len(good)


def test_a_schema_is_met_and_parsed(yard: Yard) -> None:
    """A job with a response schema has its answer as data."""
    schema = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": ["spam", "ham"]},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["label", "score"],
    }
    result = yard.run_one(Job(contents="Spam or ham: buy now!", response_schema=schema))
    assert result.ok
    assert result.parsed["label"] in {"spam", "ham"}
    assert 0 <= result.parsed["score"] <= 1
    assert json.loads(result.text or "") == result.parsed


def test_a_conversation_with_a_picture(yard: Yard) -> None:
    """Turns and inline data arrive as they are; routing reads the last user turn."""
    job = Job.model_validate(
        {
            "contents": [
                {"role": "user", "parts": [{"text": "I will show you a picture."}]},
                {"role": "model", "parts": [{"text": "Go on."}]},
                {
                    "role": "user",
                    "parts": [
                        {"text": "Is it red or blue?"},
                        {"inlineData": {"mimeType": "image/png", "data": PNG}},
                    ],
                },
            ]
        }
    )
    result = yard.run_one(job)
    assert result.ok
    assert result.decision is not None
    assert result.decision.stage == "learned"
    assert result.usage.prompt_tokens > PICTURE_TOKENS
    assert result.usage.prompt_tokens < PICTURE_TOKENS + 100, "the picture was read as text"


def test_system_instruction_and_config_pass_through(yard: Yard) -> None:
    """The stand-in counts the instruction's tokens and keeps to the job's token limit."""
    prompt = "Describe the harbour at dawn. It is quiet. Boats lie still. Gulls wait. " * 5
    plain = yard.run_one(Job(contents=prompt, tier=Tier.FLASH))
    told = yard.run_one(
        Job(
            contents=prompt,
            tier=Tier.FLASH,
            system_instruction="You are a harbour pilot. Be brief. " * 10,
            config={"max_output_tokens": 7, "temperature": 0.1},
        )
    )
    assert told.usage.prompt_tokens > plain.usage.prompt_tokens + 50
    assert plain.usage.output_tokens > 7
    assert told.usage.output_tokens <= 7


def test_celery_reads_a_real_result(yard: Yard) -> None:
    """AsyncResult(job_id) of our app and of a stranger's: SUCCESS and the result."""
    job_id = yard.producer.submit(Job(contents="Say hello.", custom_id="mine"))
    ours = create_app(yard.url)
    strangers = Celery("someone", backend=f"promptyard.backend:JobBackend+{yard.url}")
    for app in (ours, strangers):
        result = AsyncResult(job_id, app=app).get(timeout=30)
        assert AsyncResult(job_id, app=app).state == "SUCCESS"
        assert (result["custom_id"], result["status"]) == ("mine", "succeeded")
        app.close()


def test_urgent_jobs_are_not_held_up_by_their_priority(yard: Yard) -> None:
    """Every priority is a list of its own, and each has its consumer."""
    jobs = [Job(contents=f"Count to {n}.", priority=n) for n in range(10)]
    results = yard.run(jobs)
    assert all(result.ok for result in results.values())
    assert all(yard.calls(job.text) == 1 for job in jobs)


def test_prompts_and_keys_stay_out_of_logs_and_key_names(yard: Yard) -> None:
    """After answers, refusals, retries, unroutable jobs and a server that quotes the prompt."""
    mark = "zebra-crossing-4711"
    ways = ["", "[[sim: 400]]", "[[sim: 503 x2]]", "[[sim: block]]", "[[sim: disconnect x1]]"]
    ways += ["[[sim: 429 x1 retry=0s]]", "[[sim: nonsense]]", "[[sim: 503]]", "[[sim: empty]]"]
    jobs = [
        Job(contents=f"{mark} {way}", idempotency_key=f"{mark}-{n}") for n, way in enumerate(ways)
    ]
    jobs += [
        Job(contents=mark, model="none"),
        Job(contents=mark, tier=Tier.LITE, model="none"),
        Job(contents=mark, config={"temperature": mark}),
        Job(contents=mark, config={"http_options": {"headers": {"x": mark}}}),
        Job(contents=mark, system_instruction=mark, config={"max_output_tokens": 3}),
        Job.model_validate(
            {"contents": [{"parts": [{"inlineData": {"mimeType": mark, "data": mark}}]}]}
        ),
    ]
    batch_id = yard.producer.open_batch(identity=mark)
    yard.producer.submit_batch(jobs, batch_id=batch_id)
    yard.finish(batch_id)
    log = yard.log_text()
    assert "failed: invalid_request" in log, "the workers log at all"
    assert mark not in log
    assert MARKED_KEY not in log
    names = b"\n".join(yard.raw.scan_iter(count=10_000))
    assert keys.job(jobs[0].id).encode() in names
    assert mark.encode() not in names
    assert MARKED_KEY.encode() not in names
    for result in yard.producer.results(batch_id):
        assert MARKED_KEY not in result.model_dump_json()
