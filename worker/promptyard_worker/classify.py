"""The classify task: a chunk of jobs, one embedding call, one dispatch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import zstandard
from pydantic import ValidationError

from promptyard.errors import StoreError
from promptyard.job import Decision, ErrorType, Job, JobError
from promptyard.names import CLASSIFY_TASK
from promptyard.store import codec, jobs
from promptyard.store.records import Ending, unreadable
from promptyard_worker.celery_app import app
from promptyard_worker.lifecycle import station

if TYPE_CHECKING:
    from celery import Task

    from promptyard_worker.station import Station

log = logging.getLogger(__name__)

#: How long a chunk waits when Redis does not answer it.
STORE_RETRY_S: Final = 5.0


@app.task(name=CLASSIFY_TASK, bind=True, max_retries=None)
def classify(self: Task[Any, Any], job_ids: list[str]) -> None:
    """Load, route and dispatch a chunk of jobs."""
    here = station()
    try:
        waiting, bad = _load(here, job_ids)
        decisions, unroutable = _decide(here, waiting)
        _dispatch(here, decisions)
        _reject(here, {**bad, **unroutable})
    except StoreError as error:
        # none or some are dispatched; those are skipped when the chunk comes again
        log.warning("A chunk of %d jobs waits for Redis: %s", len(job_ids), error)
        raise self.retry(countdown=STORE_RETRY_S, exc=None) from error


def _load(here: Station, job_ids: Sequence[str]) -> tuple[list[Job], dict[str, JobError]]:
    """The jobs of the chunk that wait for routing, and those that cannot be read."""
    fields = here.store.do_many([jobs.job_fields(job_id, "state", "request") for job_id in job_ids])
    waiting: list[Job] = []
    bad: dict[str, JobError] = {}
    for job_id, (state, request) in zip(job_ids, fields, strict=True):
        if state != b"accepted":  # cancelled, or routed by an earlier delivery
            continue
        try:
            waiting.append(Job.model_validate_json(codec.decode(request or b"")))
        except (ValidationError, zstandard.ZstdError) as error:
            bad[job_id] = JobError(
                type=ErrorType.INVALID_REQUEST,
                message=f"The job record cannot be read: {unreadable(error)}",
            )
    return waiting, bad


def _decide(
    here: Station, waiting: list[Job]
) -> tuple[list[tuple[Job, Decision]], dict[str, JobError]]:
    """Route the chunk; if that fails, each job alone, so that a bad one hurts itself only."""
    try:
        verdicts = list(here.router.route(waiting))
    except Exception:
        if len(waiting) > 1:
            halves = [_decide(here, [job]) for job in waiting]
            decided = [pair for pairs, _ in halves for pair in pairs]
            return decided, {key: error for _, bad in halves for key, error in bad.items()}
        log.exception("Job %s cannot be routed.", waiting[0].id)
        message = "The router failed on this job; the classify worker's log has the traceback."
        verdicts = [JobError(type=ErrorType.INTERNAL, message=message)]
    pairs = list(zip(waiting, verdicts, strict=True))
    return (
        [(job, found) for job, found in pairs if isinstance(found, Decision)],
        {job.id: found for job, found in pairs if isinstance(found, JobError)},
    )


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
