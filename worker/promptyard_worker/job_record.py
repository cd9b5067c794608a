"""The record of one leased job, as the worker that holds it writes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from promptyard.errors import StoreError
from promptyard.job import Attempt, ErrorType, JobError, JobState
from promptyard.store import Call, running
from promptyard.store.records import Ending, decode_attempts
from promptyard.store.running import Release
from promptyard_worker.observe.ended import Ended

if TYPE_CHECKING:
    from promptyard_worker.gemini.answer import Answer
    from promptyard_worker.station import Station
    from promptyard_worker.target import Target

log = logging.getLogger(__name__)

#: How long an ended job waits when Redis does not answer it.
STORE_RETRY_S: Final = 2.0
_STATES: Final = {ErrorType.SAFETY: JobState.BLOCKED}


class JobRecord:
    """Writes are fenced by the lease: after another has taken the job they do nothing."""

    def __init__(self, here: Station, job_id: str, token: str, claim: running.Claim) -> None:
        self._here = here
        self._id = job_id
        self._token = token
        self._claim = claim
        #: Calls before this claim.
        self.before = decode_attempts(claim.attempts)
        #: Calls since, to go on record with the next write.
        self.calls: list[Attempt] = []
        #: Once the record has been read.
        self._target: Target | None = None

    @property
    def counted(self) -> Sequence[Attempt]:
        """The calls that count, the first ones pardoned."""
        return (*self.before, *self.calls)[self._claim.pardoned :]

    def found(self, target: Target) -> None:
        """The record has been read."""
        self._target = target

    async def succeed(self, answer: Answer, told: Sequence[Call[Any]]) -> None:
        """End the job with an answer; ``told`` is written along with it."""
        ending = Ending(
            text=answer.text,
            parsed=answer.parsed,
            model=self.calls[-1].model,
            model_version=answer.model_version,
        )
        await self._finish(ending, JobState.SUCCEEDED, told)

    async def end(self, error: JobError, answer: Answer | None = None) -> None:
        """End the job with an error."""
        # the message may quote the prompt: it is on the record, not in the log
        log.warning("Job %s failed: %s.", self._id, error.type)
        ending = Ending(
            model=self.calls[-1].model if self.calls else None,
            model_version=answer.model_version if answer else None,
            error=error,
        )
        await self._finish(ending, _STATES.get(error.type, JobState.FAILED))

    def expired(self) -> None:
        """Its time was over before a call was let through, and it has ended."""
        error = JobError(type=ErrorType.EXPIRED, message="")
        self._here.observer.ended(self._ended(Ending(error=error), JobState.EXPIRED))

    async def give_back(self, target: Target) -> None:
        """The worker stops: another takes the job at once."""
        await self.release(target, target.model, send=True)

    async def park(self, target: Target, place: str, *, outage: bool = False) -> None:
        """Let it wait without a message; in an outage its calls so far no longer count."""
        pardoned = len(self.before) + len(self.calls) if outage else None
        await self.release(target, target.model, place=place, outage=outage, pardoned=pardoned)

    async def release(self, target: Target, model: str, **how: Any) -> bool:
        """Give it back for a call of a model; ``how`` as ``Release`` takes it."""
        tier = target.config.model(model).tier
        to = Release(tier=tier, model=model, attempts=tuple(self.calls), **how)
        call = running.release(self._id, self._token, to, priority=target.job.priority)
        return bool((await self.write([call]))[0])

    async def write(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Write what a call came to, however long Redis is away.

        The call is paid: giving up here would mean making it again. The lease is still held
        here, so nobody else takes the job meanwhile (the caretaker waits after an outage).
        """
        while True:
            try:
                return await self._here.async_store.do_many(calls)
            except StoreError as error:
                log.warning("Job %s has ended and waits for Redis: %s", self._id, error)
                await asyncio.sleep(STORE_RETRY_S)

    async def _finish(
        self, ending: Ending, state: JobState, told: Sequence[Call[Any]] = ()
    ) -> None:
        recorded, *_ = await self.write([self._record(ending, state), *told])
        if recorded:
            self._here.observer.ended(self._ended(ending, state))
        else:
            log.info("Job %s had ended elsewhere; this answer is dropped.", self._id)

    def _record(self, ending: Ending, state: JobState) -> Call[bool]:
        target = self._target
        return running.record(
            self._id,
            self._token,
            ending,
            state=state,
            attempts=self.calls,
            # classify had no part in it: nobody else has written it
            decision=target.decision if target and target.is_own_decision else None,
            retention_s=self._here.settings.retention_s,
        )

    def _ended(self, ending: Ending, state: JobState) -> Ended:
        target, claim = self._target, self._claim
        return Ended(
            job_id=self._id,
            batch_id=claim.batch_id,
            state=state,
            tier=claim.tier,
            model=ending.model or claim.model or None,
            error=ending.error.type if ending.error else None,
            job=target.job if target else None,
            decision=target.decision if target else None,
            attempts=(*self.before, *self.calls),
            accepted_s=claim.accepted_s,
            routed_s=claim.routed_s,
            finished_s=self._here.clock.now_s(),
        )
