"""The classify task: a chunk of jobs, one embedding call, one dispatch."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import zstandard
from pydantic import ValidationError

from promptyard.errors import EmbeddingError, EmbeddingRefused, StoreError
from promptyard.job import Decision, ErrorType, Job, JobError, JobState
from promptyard.names import CLASSIFY_TASK
from promptyard.store import codec, jobs, taking
from promptyard.store.records import Ending, unreadable
from promptyard_worker.again import again
from promptyard_worker.celery_app import app
from promptyard_worker.chunks import Chunk
from promptyard_worker.lifecycle import station
from promptyard_worker.observe.ended import Ended

if TYPE_CHECKING:
    from celery import Task

    from promptyard_worker.routing.router import PromptRouter
    from promptyard_worker.station import Station

    _Decided = list[tuple[Job, Decision]]

log = logging.getLogger(__name__)

#: How long a chunk waits when Redis does not answer it.
STORE_RETRY_S: Final = 5.0
#: How long a chunk waits for the encoder's service: at first, and at most.
EMBEDDING_RETRY_S: Final = 1.0
MAX_EMBEDDING_RETRY_S: Final = 60.0


@app.task(name=CLASSIFY_TASK, bind=True, max_retries=None)
def classify(self: Task[Any, Any], job_ids: list[str]) -> None:
    """Take, route and dispatch a chunk of jobs; what it cannot route now it gives back."""
    here = station()
    delivery = self.request.delivery_info
    chunk = Chunk(uuid.uuid4().hex, job_ids, (delivery and delivery["priority"]) or 0)
    try:
        for suspect in _handle(here, chunk):
            _handle(here, replace(chunk, job_ids=[suspect]), alone=True)
    except (EmbeddingError, StoreError) as error:
        delay_s = _delay_s(error, self.request.retries or 0)
        what = "Redis" if isinstance(error, StoreError) else f"{delay_s:g} s"
        log.warning("A chunk of %d jobs waits for %s: %s", len(job_ids), what, error)
        here.loop.start(here.chunks.give_back(chunk, delay_s=delay_s))
        raise again(self, delay_s=delay_s) from error


def _handle(here: Station, chunk: Chunk, *, alone: bool = False) -> list[str]:
    """Route what waits for it; gives the jobs that must be alone in this process meanwhile."""
    with here.chunks.hold(chunk, alone=alone):
        take = taking.take(chunk.job_ids, chunk.token, lease_s=here.settings.lease_s, alone=alone)
        hand = here.store.do(take)
        readable, bad = _read(hand.requests)
        clock = time.perf_counter()
        decisions, unroutable = _decide(here, readable)
        here.observer.routed([found for _, found in decisions], time.perf_counter() - clock)
        _dispatch(here, decisions)
        _reject(here, {**bad, **unroutable})
    return hand.suspects


def _delay_s(error: EmbeddingError | StoreError, retries: int) -> float:
    if isinstance(error, StoreError):
        return STORE_RETRY_S
    return min(MAX_EMBEDDING_RETRY_S, EMBEDDING_RETRY_S * 2.0 ** min(retries, 10))


def _read(requests: Mapping[str, bytes]) -> tuple[list[Job], dict[str, JobError]]:
    """The jobs, and those whose record cannot be read."""
    readable: list[Job] = []
    bad: dict[str, JobError] = {}
    for job_id, request in requests.items():
        try:
            readable.append(Job.model_validate_json(codec.decode(request)))
        except (ValidationError, zstandard.ZstdError) as error:
            bad[job_id] = JobError(
                type=ErrorType.INVALID_REQUEST,
                message=f"The job record cannot be read: {unreadable(error)}",
            )
    return readable, bad


def _decide(here: Station, chunk: list[Job]) -> tuple[_Decided, dict[str, JobError]]:
    """Route the chunk by the policy in force; who cannot be routed, by a newer one if there is.

    Raises:
        EmbeddingError: not now.
    """
    policy = here.policy
    decided, bad = _route(policy.router, chunk)
    # they may name a model that the file has got since
    if bad and (newer := here.policies.look()) is not policy:
        rest, bad = _route(newer.router, [job for job in chunk if job.id in bad])
        decided += rest
    return decided, bad


def _route(router: PromptRouter, chunk: list[Job]) -> tuple[_Decided, dict[str, JobError]]:
    """Route the chunk; if that fails, each half, so that a bad job hurts itself only."""
    try:
        verdicts = router.route(chunk)
    except EmbeddingError:
        raise
    except Exception as error:
        if len(chunk) > 1:
            middle = len(chunk) // 2
            decided, bad = _route(router, chunk[:middle])
            rest, worse = _route(router, chunk[middle:])
            return decided + rest, bad | worse
        verdicts = [_no_verdict(chunk[0], error)]
    pairs = list(zip(chunk, verdicts, strict=True))
    return (
        [(job, found) for job, found in pairs if isinstance(found, Decision)],
        {job.id: found for job, found in pairs if isinstance(found, JobError)},
    )


def _no_verdict(job: Job, error: Exception) -> JobError:
    if isinstance(error, EmbeddingRefused):
        return JobError(type=ErrorType.INVALID_REQUEST, message=f"Cannot be routed: {error}")
    log.error("Job %s cannot be routed.", job.id, exc_info=error)
    message = "The router failed on this job; the classify worker's log has the traceback."
    return JobError(type=ErrorType.INTERNAL, message=message)


def _dispatch(here: Station, decisions: Sequence[tuple[Job, Decision]]) -> None:
    chunk = [jobs.Routed(job.id, job.priority, decision) for job, decision in decisions]
    if chunk:
        here.store.do(jobs.route(chunk))


def _reject(here: Station, bad: dict[str, JobError]) -> None:
    retention_s = here.settings.retention_s
    for job_id, error in bad.items():
        log.warning("Job %s failed before routing: %s.", job_id, error.type)
    rejected = here.store.do_many(
        [
            jobs.reject(job_id, Ending(error=error), retention_s=retention_s)
            for job_id, error in bad.items()
        ]
    )
    now_s = here.clock.now_s()
    for (job_id, error), is_new in zip(bad.items(), rejected, strict=True):
        if is_new:
            here.observer.ended(
                Ended(job_id=job_id, state=JobState.FAILED, error=error.type, finished_s=now_s)
            )
