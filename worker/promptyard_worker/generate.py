"""The generate task: one job, one call, one record.

claim -> call -> record, or on an error -> retry (same model) -> fall back (next queue) -> fail.
The task id is the job id on every queue, so Flower shows one task travelling.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import zstandard
from pydantic import ValidationError

from promptyard.errors import StoreError
from promptyard.job import Attempt, Decision, ErrorType, Job, JobError, JobState
from promptyard.names import GENERATE_TASK, Tier
from promptyard.store import Call, codec, jobs
from promptyard.store.records import Ending, decode_attempts, unreadable
from promptyard_worker.celery_app import app
from promptyard_worker.gemini.answer import Answer, Outcome
from promptyard_worker.gemini.taxonomy import CallFailure, classify_exception
from promptyard_worker.lifecycle import station
from promptyard_worker.retry import TryAgain, decide
from promptyard_worker.routing.explicit import explicit_decision

if TYPE_CHECKING:
    from celery import Task

    from promptyard_worker.routing.config import RouterConfig
    from promptyard_worker.station import Station

log = logging.getLogger(__name__)

#: How long a task waits when Redis does not answer it.
STORE_RETRY_S: Final = 2.0

_STATES = {
    Outcome.TEXT: JobState.SUCCEEDED,
    Outcome.BLOCKED: JobState.BLOCKED,
    Outcome.EMPTY: JobState.FAILED,
    Outcome.SCHEMA_MISMATCH: JobState.FAILED,
}


@dataclass(frozen=True)
class Again:
    """The job goes back to a queue."""

    tier: Tier
    delay_s: float


@app.task(name=GENERATE_TASK, bind=True, max_retries=None)
def generate(self: Task[Any, Any], job_id: str) -> None:
    """Call the model for one job and record how it ended."""
    here = station()
    try:
        again = here.loop.run(_attempt(here, job_id))
    except StoreError as error:
        # without an answer of Redis nothing is known; the message must stay
        log.warning("Job %s waits for Redis: %s", job_id, error)
        raise self.retry(countdown=STORE_RETRY_S, exc=None) from error
    if again is not None:
        raise self.retry(countdown=again.delay_s, queue=again.tier.value)


async def _attempt(here: Station, job_id: str) -> Again | None:
    """Claim, call, record; says whether and where the job goes on."""
    token = uuid.uuid4().hex
    claim = await here.async_store.do(
        jobs.claim(
            job_id,
            token,
            lease_s=here.settings.lease_s,
            retention_s=here.settings.retention_s,
        )
    )
    if claim.verdict != "run":
        log.debug("Job %s makes no call: %s.", job_id, claim.verdict)
        return None
    with here.leases.hold(job_id):
        return await _Attempt(here, job_id, token, claim).run()


class _Attempt:
    """One leased job on its way through one call."""

    def __init__(self, here: Station, job_id: str, token: str, claim: jobs.Claim) -> None:
        self._here = here
        self._id = job_id
        self._token = token
        self._claim = claim
        self._before = decode_attempts(claim.attempts)
        self._policy = here.policy
        #: Given to the record where the job named its tier and classify had no part.
        self._own_decision: Decision | None = None

    @property
    def _config(self) -> RouterConfig:
        return self._policy.config

    async def run(self) -> Again | None:
        try:
            job = Job.model_validate_json(codec.decode(self._claim.request))
            decision, model = await self._target(job)
        except (ValidationError, zstandard.ZstdError) as error:
            message = f"The job record cannot be read: {unreadable(error)}"
        except _Unroutable as error:
            message = f"The job cannot be routed: {error}"
        else:
            return await self._call(job, decision, model)
        await self._fail(JobError(type=ErrorType.INVALID_REQUEST, message=message), None)
        return None

    async def _target(self, job: Job) -> tuple[Decision, str]:
        """The decision and the model to call; who routed the job may know a newer policy."""
        try:
            return self._find(job)
        except _Unroutable:
            newer = await asyncio.to_thread(self._here.policies.look)
            if newer is self._policy:
                raise
            self._policy = newer
            return self._find(job)

    def _find(self, job: Job) -> tuple[Decision, str]:
        decision = self._decision(job)
        model = self._claim.model or decision.model
        if model not in self._config.models:  # routed by another router file
            raise _Unroutable(f"the router file has no model {model!r} (any more)")
        return decision, model

    def _decision(self, job: Job) -> Decision:
        if self._claim.decision:
            return Decision.model_validate_json(self._claim.decision)
        found = explicit_decision(job, self._config)
        if not isinstance(found, Decision):
            raise _Unroutable(found.message if found else "it names neither tier nor model")
        self._own_decision = found
        return found

    def _for_model(self, decision: Decision, model: str) -> Decision:
        """A fallback model thinks by its own budget: another's may be refused there."""
        if model == decision.model:
            return decision
        budget = self._config.thinking_budget(model)
        return decision.model_copy(update={"model": model, "thinking_budget": budget})

    async def _call(self, job: Job, decision: Decision, model: str) -> Again | None:
        timeout_s = self._config.model(model).timeout_s
        started, clock = datetime.now(UTC), time.perf_counter()

        def attempt(error: JobError | None) -> Attempt:
            duration_s = round(time.perf_counter() - clock, 6)
            return Attempt(model=model, started=started, duration_s=duration_s, error=error)

        try:
            answer = await self._here.client.generate(
                job, self._for_model(decision, model), model=model, timeout_s=timeout_s
            )
        except Exception as error:
            failure = classify_exception(error)
            return await self._failed(failure, attempt(failure.error), decision, model)
        await self._answered(answer, attempt(answer.error), model)
        return None

    async def _answered(self, answer: Answer, attempt: Attempt, model: str) -> None:
        """Record an answer; one without usable text has been paid for too."""
        ending = Ending(
            text=answer.text,
            parsed=answer.parsed,
            model=model,
            model_version=answer.model_version,
            usage=answer.usage,
            cost_usd=self._config.model(model).price.cost_usd(answer.usage),
            error=answer.error,
        )
        recorded = await self._persist(
            jobs.record(
                self._id,
                self._token,
                ending,
                state=_STATES[answer.outcome],
                attempt=attempt,
                decision=self._own_decision,
                retention_s=self._here.settings.retention_s,
            )
        )
        if not recorded:
            log.info("Job %s had ended elsewhere; this answer is dropped.", self._id)

    async def _failed(
        self, failure: CallFailure, attempt: Attempt, decision: Decision, model: str
    ) -> Again | None:
        """Act on what the retry policy decides."""
        verdict = decide(
            failure,
            model=model,
            first_model=decision.model,
            attempts=(*self._before, attempt),
            config=self._config,
        )
        if not isinstance(verdict, TryAgain):
            await self._fail(failure.error, attempt)
            return None
        tier = self._config.model(verdict.model).tier
        released = await self._persist(
            jobs.release(
                self._id,
                self._token,
                tier=tier,
                model=verdict.model,
                attempt=attempt,
                fallback=verdict.fallback,
                delay_s=verdict.delay_s,
            )
        )
        return Again(tier, verdict.delay_s) if released else None

    async def _persist(self, call: Call[bool]) -> bool:
        """Write what the call came to, however long Redis is away.

        The call is paid: giving up here would mean making it again. The lease is still held
        here, so nobody else takes the job meanwhile (Leases.keep waits after an outage).
        """
        while True:
            try:
                return await self._here.async_store.do(call)
            except StoreError as error:
                log.warning("Job %s has ended and waits for Redis: %s", self._id, error)
                await asyncio.sleep(STORE_RETRY_S)

    async def _fail(self, error: JobError, attempt: Attempt | None) -> None:
        # the message may quote the prompt: it is on the record, not in the log
        log.warning("Job %s failed: %s.", self._id, error.type)
        await self._persist(
            jobs.fail(
                self._id,
                self._token,
                Ending(error=error),
                attempt=attempt,
                decision=self._own_decision,
                retention_s=self._here.settings.retention_s,
            )
        )


class _Unroutable(Exception):
    """The job names a tier or model that the router file does not have."""
