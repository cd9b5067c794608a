"""Celery's AsyncResult reads the job record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from promptyard.backend import JobFailed
from promptyard.job import ErrorType, Job, JobError, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, running
from promptyard.store.records import Ending
from promptyard.store.running import Release, Why
from tests.integration.test_store import (
    ATTEMPT,
    RETENTION_S,
    claimed,
    in_hand,
    recorded,
    routed,
    submitted,
)


@pytest.fixture
def foreign_app(redis_url: str) -> Iterator[Celery]:
    """An app that knows nothing of ours but the backend class."""
    app = Celery("someone", backend=f"promptyard.backend:JobBackend+{redis_url}")
    yield app
    app.close()


def test_states_follow_the_record(foreign_app: Celery, store: Store, producer: Producer) -> None:
    """PENDING, STARTED, RETRY, SUCCESS with the result, REVOKED: each from the job's state."""

    def state(job_id: str) -> str:
        return AsyncResult(job_id, app=foreign_app).state

    assert state("unknown") == "PENDING"
    job_id = submitted(store, Job(contents="a", custom_id="mine"))
    assert state(job_id) == "PENDING"
    routed(store, job_id)
    assert state(job_id) == "PENDING"
    _, token = claimed(store, job_id)
    assert state(job_id) == "STARTED"
    slow = ATTEMPT.model_copy(update={"error": JobError(type=ErrorType.TIMEOUT, message="slow")})
    to = Release(tier=Tier.LITE, model="m", attempts=[slow], why=Why.RETRY)
    store.do(running.release(job_id, token, to, priority=5))
    assert state(job_id) == "RETRY"
    _, token = claimed(store, job_id)
    recorded(store, job_id, token)
    done = AsyncResult(job_id, app=foreign_app)
    assert done.successful()
    assert done.get(timeout=5)["text"] == "spam"
    assert done.get(timeout=5)["custom_id"] == "mine"

    cancelled = submitted(store, Job(contents="b"))
    producer.cancel_job(cancelled)
    assert state(cancelled) == "REVOKED"
    with pytest.raises(TaskRevokedError):
        AsyncResult(cancelled, app=foreign_app).get(timeout=5)


def test_a_failed_job_raises_its_error(foreign_app: Celery, store: Store) -> None:
    """FAILURE carries type and message."""
    job_id, token = in_hand(store)
    ending = Ending(error=JobError(type=ErrorType.INVALID_REQUEST, message="no such field"))
    call = running.record(
        job_id,
        token,
        ending,
        state=JobState.FAILED,
        attempts=[ATTEMPT],
        retention_s=RETENTION_S,
    )
    store.do(call)
    failed = AsyncResult(job_id, app=foreign_app)
    assert failed.state == "FAILURE"
    with pytest.raises(JobFailed, match="invalid_request: no such field"):
        failed.get(timeout=5)
