"""What the line does when the model does not answer as hoped."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promptyard.embedded import EmbeddedServer
from promptyard.job import ErrorType, Job, JobResult, JobState
from promptyard.names import Tier
from tests.conftest import wait_until
from tests.process.conftest import HASTY_MODEL, HASTY_TIMEOUT_S, Yard, new_sim

pytestmark = pytest.mark.process

#: ``retry.max_attempts`` of router.yaml: calls per model.
MAX_ATTEMPTS = 4
PRO, FLASH, LITE = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"


def errors(result: JobResult) -> list[ErrorType | None]:
    """The error of each attempt, in order."""
    return [attempt.error.type if attempt.error else None for attempt in result.attempts]


def run_counted(yard: Yard, job: Job) -> JobResult:
    """Run one job; the stand-in must have seen just the attempts that are on record."""
    result = yard.run_one(job)
    assert yard.calls(job.text) == len(result.attempts)
    return result


def test_transient_errors_are_tried_again(yard: Yard) -> None:
    """Two 503s and a success: three calls, all on record, the batch done."""
    job = Job(contents="Mend this. [[sim: 503 x2]]", tier=Tier.LITE)
    batch = yard.producer.submit_batch([job])
    status = yard.finish(batch)
    (result,) = yard.producer.results(batch)
    assert (result.id, result.status, result.model) == (job.id, JobState.SUCCEEDED, LITE)
    assert errors(result) == [ErrorType.SERVER_ERROR, ErrorType.SERVER_ERROR, None]
    assert all(attempt.model == LITE for attempt in result.attempts)
    starts = [attempt.started for attempt in result.attempts]
    assert starts == sorted(starts)
    assert yard.calls(job.text) == 3
    assert (status.retries, status.fallbacks) == (2, 0)
    assert status.counts[JobState.SUCCEEDED] == 1


def test_a_model_that_stays_away_is_replaced(yard: Yard) -> None:
    """Pro fails max_attempts times; then flash answers: the same job, at once."""
    job = Job(contents=f"Prove it. [[sim: 503 x{MAX_ATTEMPTS}]]", tier=Tier.PRO)
    batch = yard.producer.submit_batch([job])
    status = yard.finish(batch)
    (result,) = yard.producer.results(batch)
    assert (result.id, result.status) == (job.id, JobState.SUCCEEDED)
    assert (result.tier, result.model) == (Tier.FLASH, FLASH)
    assert [attempt.model for attempt in result.attempts] == [PRO] * MAX_ATTEMPTS + [FLASH]
    assert errors(result) == [ErrorType.SERVER_ERROR] * MAX_ATTEMPTS + [None]
    assert (status.retries, status.fallbacks) == (MAX_ATTEMPTS, 1)
    assert (status.tiers[Tier.PRO].routed, status.tiers[Tier.FLASH].routed) == (0, 1)
    assert status.tiers[Tier.FLASH].finished == 1
    assert result.decision is not None
    assert result.decision.tier is Tier.PRO, "the decision stays what it was"
    assert result.usage.thinking_tokens == 0, "flash thinks by its own budget"
    assert yard.sim.stats()["calls_by_model"] == {PRO: MAX_ATTEMPTS, FLASH: 1}


def test_a_fallback_does_not_wait(yard: Yard) -> None:
    """The other model is called at once, not after Celery's default delay."""
    result = run_counted(yard, Job(contents=f"Now. [[sim: 503 x{MAX_ATTEMPTS}]]", tier=Tier.LITE))
    last_two = result.attempts[-2:]
    assert [attempt.model for attempt in last_two] == [LITE, FLASH]
    gap_s = (last_two[1].started - last_two[0].started).total_seconds() - last_two[0].duration_s
    assert gap_s < 5


def test_when_every_model_fails_the_job_fails(yard: Yard) -> None:
    """After the whole chain; the last error is the job's."""
    result = run_counted(yard, Job(contents="Never. [[sim: 503]]", tier=Tier.LITE))
    assert result.status is JobState.FAILED
    assert result.error is not None
    assert result.error.type is ErrorType.SERVER_ERROR
    assert "503" in result.error.message
    assert [attempt.model for attempt in result.attempts] == [LITE] * MAX_ATTEMPTS + [
        FLASH
    ] * MAX_ATTEMPTS


@pytest.mark.parametrize("directive", ["404 x1", "403 model x1"])
def test_a_model_that_is_not_there_is_replaced_at_once(yard: Yard, directive: str) -> None:
    """No second call of it; the log says so aloud."""
    result = run_counted(yard, Job(contents=f"Where? [[sim: {directive}]]", tier=Tier.LITE))
    assert result.status is JobState.SUCCEEDED
    assert [attempt.model for attempt in result.attempts] == [LITE, FLASH]
    assert errors(result) == [ErrorType.MODEL_UNAVAILABLE, None]
    assert f"Model {LITE} cannot be used" in yard.log_text()


def test_a_prompt_too_long_goes_to_the_smallest_window_that_fits(tmp_path: Path) -> None:
    """By the count the server gave; one that fits nowhere fails and says so."""
    windows = {LITE: 100, FLASH: 2_000, PRO: 5_000}
    with (
        new_sim(context_tokens=windows) as sim,
        EmbeddedServer(tmp_path, persist=False) as server,
    ):
        yard = Yard(tmp_path, server.url, sim)
        path = tmp_path / "router.yaml"
        policy = yaml.safe_load(path.read_text())
        policy["models"].pop(HASTY_MODEL)
        for model, tokens in windows.items():
            policy["models"][model]["context_window"] = tokens
        path.write_text(yaml.safe_dump(policy, allow_unicode=True))
        for tier in Tier:
            yard.launch(tier)
        long = Job(contents="word " * 400, tier=Tier.LITE)
        longer = Job(contents="word " * 3_000, tier=Tier.LITE)
        endless = Job(contents="word " * 9_000, tier=Tier.LITE)
        results = yard.run([long, longer, endless])
        yard.close()
    assert [one.model for one in results[long.id].attempts] == [LITE, FLASH]
    assert [one.model for one in results[longer.id].attempts] == [LITE, PRO]
    assert results[long.id].ok
    assert results[longer.id].ok
    error = results[endless.id].error
    assert error is not None
    assert error.type is ErrorType.CONTEXT_TOO_LONG


def test_a_refused_request_is_called_once(yard: Yard) -> None:
    """400: failed, no retry, no fallback."""
    result = run_counted(yard, Job(contents="Wrong. [[sim: 400]]", tier=Tier.PRO))
    assert result.status is JobState.FAILED
    assert errors(result) == [ErrorType.INVALID_REQUEST]
    assert result.error == result.attempts[0].error
    assert result.cost_usd == 0


def test_a_safety_refusal_is_blocked(yard: Yard) -> None:
    """No retry; its tokens are paid."""
    result = run_counted(yard, Job(contents="Forbidden. [[sim: block]]", tier=Tier.FLASH))
    assert result.status is JobState.BLOCKED
    assert errors(result) == [ErrorType.SAFETY]
    assert result.error is not None
    assert result.text is None


def test_a_hanging_call_times_out_and_is_tried_again(yard: Yard) -> None:
    """The model's own timeout_s ends the call; the attempt lasted that long."""
    result = run_counted(yard, Job(contents="Wait. [[sim: hang x1]]", model=HASTY_MODEL))
    assert result.status is JobState.SUCCEEDED
    assert errors(result) == [ErrorType.TIMEOUT, None]
    assert result.attempts[0].duration_s >= HASTY_TIMEOUT_S * 0.9


def test_a_broken_connection_is_one_attempt(yard: Yard) -> None:
    """Neither SDK nor HTTP client sends a prompt again behind our back."""
    result = run_counted(yard, Job(contents="Break. [[sim: disconnect x2]]", tier=Tier.LITE))
    assert result.status is JobState.SUCCEEDED
    assert errors(result) == [ErrorType.CONNECTION, ErrorType.CONNECTION, None]


def test_a_quota_refusal_waits_as_the_server_asks(yard: Yard) -> None:
    """429 with RetryInfo: the next call comes no sooner."""
    result = run_counted(yard, Job(contents="More. [[sim: 429 x1 retry=1s]]", tier=Tier.LITE))
    assert errors(result) == [ErrorType.QUOTA_EXCEEDED, None]
    first, second = result.attempts
    assert (second.started - first.started).total_seconds() >= 1


@pytest.mark.parametrize("directive", ["max_tokens", "empty"])
def test_an_answer_without_text_goes_to_a_stronger_model(yard: Yard, directive: str) -> None:
    """Once more on the same model, then up the tiers; each is paid, and the reason is kept."""
    job = Job(contents=f"Speak {directive}. [[sim: {directive}]]", tier=Tier.LITE)
    result = run_counted(yard, job)
    assert result.status is JobState.FAILED
    assert [attempt.model for attempt in result.attempts] == [LITE] * 2 + [FLASH] * 2 + [PRO] * 2
    assert set(errors(result)) == {ErrorType.EMPTY_RESPONSE}
    assert result.error is not None
    assert result.error.type is ErrorType.EMPTY_RESPONSE
    assert all(attempt.usage.prompt_tokens > 0 for attempt in result.attempts)
    assert result.cost_usd == pytest.approx(sum(attempt.cost_usd for attempt in result.attempts))


@pytest.mark.parametrize("directive", ["max_tokens", "empty"])
def test_an_empty_answer_is_asked_for_once_more(yard: Yard, directive: str) -> None:
    """The second call of the same model brings the text."""
    result = run_counted(yard, Job(contents=f"Say. [[sim: {directive} x1]]", tier=Tier.LITE))
    assert result.status is JobState.SUCCEEDED
    assert [attempt.model for attempt in result.attempts] == [LITE, LITE]


def test_bad_jobs_hurt_themselves_alone(yard: Yard) -> None:
    """Nine ways to be bad among forty good jobs: each ends by itself with its reason."""
    bad = {
        "400": Job(contents="w [[sim: 400]]"),
        "block": Job(contents="x [[sim: block]]"),
        "directive": Job(contents="y [[sim: nonsense]]"),
        "model": Job(contents="z", model="nobody"),
        "field": Job(contents="f", config={"no_such_field": 1}),
        "owned": Job(contents="o", config={"http_options": {"base_url": "http://127.0.0.1:1"}}),
        "value": Job(contents="v", config={"temperature": "hot"}),
        "base64": Job.model_validate(
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "%%%"}}]}]}
        ),
        "surrogate": Job(contents="\x00\ufffe\U0010ffff odd letters [[sim: 400]]"),
    }
    good = [Job(contents=f"Which country is number {n}?") for n in range(40)]
    mixed: list[Job] = [*good[:20], *bad.values(), *good[20:]]
    results = yard.run(mixed)
    assert len(results) == len(mixed)
    assert all(results[job.id].status is JobState.SUCCEEDED for job in good)
    for name, job in bad.items():
        ended = results[job.id]
        wanted = JobState.BLOCKED if name == "block" else JobState.FAILED
        assert ended.status is wanted, name
        assert ended.error is not None, name
        kind = ErrorType.SAFETY if name == "block" else ErrorType.INVALID_REQUEST
        assert ended.error.type is kind, (name, ended.error)
    assert all(yard.calls(job.text) == 1 for job in good)


def test_a_cancelled_jobs_late_answer_is_dropped(yard: Yard) -> None:
    """The call goes on; its answer is not recorded, but what it cost is counted."""
    job = Job(contents="Slowly. [[sim: latency=1s]]", tier=Tier.LITE)
    batch = yard.producer.submit_batch([job])
    wait_until(lambda: yard.sim.stats()["in_flight"] == 1, description="the call is in flight")
    assert yard.producer.cancel(batch) == 1
    assert yard.producer.result(job.id, timeout=0).status is JobState.CANCELLED
    wait_until(lambda: yard.sim.stats()["succeeded"] == 1, description="the answer has come")
    wait_until(yard.is_idle, description="the worker is done with it")
    result = yard.producer.result(job.id, timeout=0)
    assert (result.status, result.text) == (JobState.CANCELLED, None)
    assert result.cost_usd > 0
    status = yard.producer.status(batch)
    assert (status.counts[JobState.CANCELLED], status.counts[JobState.SUCCEEDED]) == (1, 0)
    assert status.usage == result.usage
    assert status.cost_usd == pytest.approx(result.cost_usd)
