"""Celery result backend over the job records.

``celery.result.AsyncResult(job_id, app=app)`` answers from the one record there is, for any
app made with ``backend="promptyard.backend:JobBackend+redis://..."``. It only reads: the
generate task writes the record itself, atomically with the batch's counters.
"""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.base import Backend, SyncBackendMixin
from celery.exceptions import TaskRevokedError

from promptyard.job import JobState
from promptyard.store import Store, jobs, records

_STATES = {
    JobState.ACCEPTED: states.PENDING,
    JobState.ROUTED: states.PENDING,
    JobState.RUNNING: states.STARTED,
    JobState.SUCCEEDED: states.SUCCESS,
    JobState.FAILED: states.FAILURE,
    JobState.BLOCKED: states.FAILURE,
    JobState.CANCELLED: states.REVOKED,
    JobState.EXPIRED: states.REVOKED,
}


class JobFailed(Exception):
    """What ``AsyncResult.get()`` raises for a failed or blocked job: its error's text."""


class JobBackend(SyncBackendMixin, Backend):
    """Reads task states and results from job records; stores nothing."""

    def __init__(self, app: Any = None, url: str | None = None, **kwargs: Any) -> None:
        super().__init__(app=app, url=url, **kwargs)
        self._url = url or app.conf.broker_url
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store, connected on first use."""
        if self._store is None:
            self._store = Store(self._url)
        return self._store

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        record = self.store.do(jobs.job_record(task_id))
        if not record:
            return {"task_id": task_id, "status": states.PENDING, "result": None}
        return _meta(task_id, record)

    def _store_result(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing: ``record`` has written it, or will."""

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(
            f"Job {task_id}: records are shared with its batch and leave by their retention."
        )


def _meta(task_id: str, record: dict[bytes, bytes]) -> dict[str, Any]:
    job_state = records.job_state(record)
    status = _STATES[job_state]
    meta: dict[str, Any] = {"task_id": task_id, "status": status, "result": None, "traceback": None}
    if job_state is JobState.ROUTED and b"attempts" in record:
        meta["status"] = states.RETRY
    if not job_state.is_final:
        return meta
    result = records.job_result(task_id, record)
    meta["date_done"] = result.timings.finished if result.timings else None
    message = result.error.message if result.error else job_state.value
    if status == states.SUCCESS:
        meta["result"] = result.model_dump(mode="json")
    elif status == states.REVOKED:
        meta["result"] = TaskRevokedError(message)
    else:
        kind = result.error.type if result.error else job_state.value
        meta["result"] = JobFailed(f"{kind}: {message}")
    return meta
