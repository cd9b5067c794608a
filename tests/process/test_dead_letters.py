"""Failed jobs are put back on a line of real workers, and end anew."""

from __future__ import annotations

from collections import Counter

import pytest

from promptyard.job import ErrorType, Job, JobState
from promptyard.names import Tier
from tests.process.conftest import Yard
from tests.process.test_errors import FLASH, LITE, MAX_ATTEMPTS, errors

pytestmark = pytest.mark.process

#: Calls of a job of lite until its whole chain has failed.
CHAIN_CALLS = 2 * MAX_ATTEMPTS


def test_a_failed_job_is_retried_and_succeeds(yard: Yard) -> None:
    """Its earlier calls stay on record but no longer count: it has all its attempts anew."""
    job = Job(contents=f"Try hard. [[sim: 503 x{CHAIN_CALLS + 2}]]", tier=Tier.LITE)
    batch = yard.producer.submit_batch([job])
    yard.finish(batch)
    (failed,) = yard.producer.failed(batch)
    assert (failed.id, failed.tier, failed.model) == (job.id, Tier.FLASH, FLASH)
    assert failed.error is not None
    assert failed.error.type is ErrorType.SERVER_ERROR
    assert len(failed.attempts) == CHAIN_CALLS

    assert yard.producer.retry(batch, error_type="server_error", model=FLASH) == 1
    status = yard.finish(batch)
    result = yard.producer.result(job.id, timeout=0)
    assert (result.status, result.tier, result.model) == (JobState.SUCCEEDED, Tier.LITE, LITE)
    assert errors(result) == [ErrorType.SERVER_ERROR] * (CHAIN_CALLS + 2) + [None]
    assert [attempt.model for attempt in result.attempts[CHAIN_CALLS:]] == [LITE] * 3
    assert yard.calls(job.text) == CHAIN_CALLS + 3
    assert (status.revived, status.counts[JobState.FAILED]) == (1, 0)
    assert (status.tiers[Tier.LITE].routed, status.tiers[Tier.FLASH].routed) == (1, 0)
    assert list(yard.producer.failed(batch)) == []


def test_only_what_is_asked_for_is_retried(yard: Yard) -> None:
    """By type of error; what fails again is told once, and what had succeeded is not called."""
    good = [Job(contents=f"Which river is number {n}?", tier=Tier.LITE) for n in range(10)]
    wrong = [Job(contents=f"Wrong {n}. [[sim: 400]]", tier=Tier.FLASH) for n in range(3)]
    blank = [Job(contents=f"Silent {n}. [[sim: empty x4]]", tier=Tier.PRO) for n in range(3)]
    unroutable = Job(contents="Nowhere.", model="nobody")
    batch = yard.producer.submit_batch([*good, *wrong, *blank, unroutable])
    yard.finish(batch)
    kinds = Counter(result.error.type for result in yard.producer.failed(batch) if result.error)
    assert kinds == {ErrorType.INVALID_REQUEST: 4, ErrorType.EMPTY_RESPONSE: 3}

    follower = yard.producer.follow(batch)
    assert len(list(follower)) == 17
    assert yard.producer.retry(batch, error_type=ErrorType.INVALID_REQUEST) == 4
    yard.finish(batch)
    again = list(yard.producer.follow(batch, cursor=follower.cursor))
    assert {result.id for result in again} == {unroutable.id, *(job.id for job in wrong)}
    assert all(result.status is JobState.FAILED for result in again)
    assert [yard.calls(job.text) for job in wrong] == [2] * 3

    while yard.producer.retry(batch, error_type="empty_response"):
        yard.finish(batch)
    results = {result.id: result for result in yard.producer.results(batch)}
    assert len(results) == 17
    assert all(results[job.id].ok for job in [*good, *blank])
    assert [yard.calls(job.text) for job in good] == [1] * 10
    assert [yard.calls(job.text) for job in blank] == [5] * 3


def test_a_large_batch_comes_back(yard: Yard) -> None:
    """Two hundred jobs of every way fail at once and are put back at once."""
    jobs = [Job(contents=f"Number {n}. [[sim: 400 x1]]") for n in range(200)]
    batch = yard.producer.submit_batch(jobs)
    yard.finish(batch)
    assert yard.producer.retry(batch) == 200
    status = yard.finish(batch)
    assert status.counts[JobState.SUCCEEDED] == 200
    assert all(yard.calls(job.text) == 2 for job in jobs)
