"""The classify task: a chunk of jobs, one embedding call, one dispatch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import zstandard
from pydantic import ValidationError

from promptyard.errors import EmbeddingError, EmbeddingRefused, StoreError
from promptyard.job import Decision, ErrorType, Job, JobError
from promptyard.names import CLASSIFY_QUEUE, CLASSIFY_TASK
from promptyard.store import codec, jobs, waiting
from promptyard.store.records import Ending, unreadable
from promptyard_worker.celery_app import app
from promptyard_worker.lifecycle import station

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
    """Load, route and dispatch a chunk of jobs."""
    here = station()
    try:
        chunk, bad = _load(here, job_ids)
        try:
            decisions, unroutable = _decide(here, chunk)
        except EmbeddingError as error:
            delay_s = _postpone(here, chunk, self.request.retries or 0)
            log.warning("A chunk of %d jobs waits for %g s: %s", len(chunk), delay_s, error)
            raise self.retry(countdown=delay_s, exc=None) from error
        _dispatch(here, decisions)
        _reject(here, {**bad, **unroutable})
    except StoreError as error:
        # none or some are dispatched; those are skipped when the chunk comes again
        log.warning("A chunk of %d jobs waits for Redis: %s", len(job_ids), error)
        raise self.retry(countdown=STORE_RETRY_S, exc=None) from error


def _load(here: Station, job_ids: Sequence[str]) -> tuple[list[Job], dict[str, JobError]]:
    """The jobs of the chunk that wait for routing, and those that cannot be read."""
    fields = here.store.do_many([jobs.job_fields(job_id, "state", "request") for job_id in job_ids])
    chunk: list[Job] = []
    bad: dict[str, JobError] = {}
    for job_id, (state, request) in zip(job_ids, fields, strict=True):
        if state != b"accepted":  # cancelled, or routed by an earlier delivery
            continue
        try:
            chunk.append(Job.model_validate_json(codec.decode(request or b"")))
        except (ValidationError, zstandard.ZstdError) as error:
            bad[job_id] = JobError(
                type=ErrorType.INVALID_REQUEST,
                message=f"The job record cannot be read: {unreadable(error)}",
            )
    return chunk, bad


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


def _postpone(here: Station, chunk: Sequence[Job], retries: int) -> float:
    """Let the reconciler expect the chunk later; gives in how many seconds."""
    delay_s = min(MAX_EMBEDDING_RETRY_S, EMBEDDING_RETRY_S * 2.0 ** min(retries, 10))
    due_s = here.store.do(jobs.time_s()) + delay_s
    here.store.do_many(
        [waiting.postpone(CLASSIFY_QUEUE, job.priority, job.id, due_s) for job in chunk]
    )
    return delay_s


def _dispatch(here: Station, decisions: Sequence[tuple[Job, Decision]]) -> None:
    chunk = [jobs.Routed(job.id, job.priority, decision) for job, decision in decisions]
    if chunk:
        here.store.do(jobs.route(chunk))


def _reject(here: Station, bad: dict[str, JobError]) -> None:
    retention_s = here.settings.retention_s
    for job_id, error in bad.items():
        log.warning("Job %s failed before routing: %s.", job_id, error.type)
    if bad:
        here.store.do_many(
            [
                jobs.reject(job_id, Ending(error=error), retention_s=retention_s)
                for job_id, error in bad.items()
            ]
        )
