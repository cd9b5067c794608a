"""The generate task: one job in a worker's hands.

claim -> throttle -> call -> record, or on an error -> retry (same model) -> fall back (next
queue) -> fail. The task id is the job id on every queue, so Flower shows one task travelling.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, Final

from promptyard.errors import StoreError
from promptyard.job import ErrorType, JobState
from promptyard.names import GENERATE_TASK
from promptyard.store import running
from promptyard_worker.again import again
from promptyard_worker.celery_app import app
from promptyard_worker.handling import Handling, Onward
from promptyard_worker.lifecycle import station
from promptyard_worker.observe.ended import Ended

if TYPE_CHECKING:
    from celery import Task

    from promptyard_worker.station import Station

log = logging.getLogger(__name__)

#: How long a task waits when Redis does not answer it.
STORE_RETRY_S: Final = 2.0


@app.task(name=GENERATE_TASK, bind=True, max_retries=None)
def generate(self: Task[Any, Any], job_id: str) -> None:
    """Call the model for one job and record how it ended."""
    here = station()
    try:
        onward = here.loop.run(_take(here, job_id))
    except StoreError as error:
        # without an answer of Redis nothing is known; the message must stay
        log.warning("Job %s waits for Redis: %s", job_id, error)
        raise again(self, delay_s=STORE_RETRY_S) from error
    if onward is not None:
        raise again(self, delay_s=onward.delay_s, queue=onward.tier.value)


async def _take(here: Station, job_id: str) -> Onward | None:
    """Claim the job and see it through; says whether and where it goes on."""
    token = uuid.uuid4().hex
    claim = await here.async_store.do(
        running.claim(
            job_id,
            token,
            lease_s=here.settings.lease_s,
            retention_s=here.settings.retention_s,
        )
    )
    if claim.verdict == "expired":
        here.observer.ended(
            Ended(
                job_id=job_id,
                state=JobState.EXPIRED,
                error=ErrorType.EXPIRED,
                finished_s=here.clock.now_s(),
            )
        )
    if claim.verdict != "run":
        log.debug("Job %s makes no call: %s.", job_id, claim.verdict)
        return None
    with here.leases.hold(job_id):
        try:
            return await Handling(here, job_id, token, claim).run()
        finally:
            here.limiter.forget(job_id)
