"""One leased job on its way: throttle -> call -> record, or released to go on elsewhere.

``retry.decide`` says what follows a call that brought nothing; here it is done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from promptyard.job import Attempt, ErrorType, Job, JobError
from promptyard.names import Tier
from promptyard.store import Call, breakers, parking, running
from promptyard.store.quota import VOID, Ask, Reply, Verdict
from promptyard.store.running import Why
from promptyard_worker import retry
from promptyard_worker.gemini.repair import repair_job
from promptyard_worker.gemini.taxonomy import CallFailure, QuotaKind, classify_exception
from promptyard_worker.job_record import JobRecord
from promptyard_worker.quota.breakers import DAILY_QUOTA, UNAUTHENTICATED
from promptyard_worker.quota.estimate import cost_usd, input_tokens
from promptyard_worker.quota.pacer import Stopped
from promptyard_worker.shortfall import Shortfall, found_wanting, interrupted
from promptyard_worker.target import Target, Unusable, find_target

if TYPE_CHECKING:
    from promptyard_worker.gemini.answer import Answer
    from promptyard_worker.station import Station

log = logging.getLogger(__name__)

#: How long a key that was refused is left alone.
KEY_OPEN_S: Final = 30.0


@dataclass(frozen=True)
class Onward:
    """The job goes back to a queue, by a Celery retry."""

    tier: Tier
    delay_s: float


class Handling:
    """One leased job."""

    def __init__(self, here: Station, job_id: str, token: str, claim: running.Claim) -> None:
        self._here = here
        self._id = job_id
        self._token = token
        self._claim = claim
        self._record = JobRecord(here, job_id, token, claim)
        self._target: Target

    async def run(self) -> Onward | None:
        """See the job through one claim; says whether and where it goes on."""
        try:
            self._target = await find_target(self._claim, self._here.policies)
        except Unusable as error:
            await self._record.end(JobError(type=ErrorType.INVALID_REQUEST, message=str(error)))
            return None
        self._record.found(self._target)
        request = self._target.job
        while True:
            try:
                reply = await self._admit(request)
            except Stopped:
                await self._record.give_back(self._target)
                return None
            if reply.verdict is not Verdict.GO:
                await self._turned_away(reply)
                return None
            outcome = await self._call(request, reply)
            if outcome is None:
                return None
            verdict = await self._verdict(outcome)
            if isinstance(verdict, retry.Repair):
                request = self._repaired(outcome)
            elif not isinstance(verdict, retry.Again):
                return await self._act(verdict, outcome)

    # throttle

    async def _admit(self, request: Job) -> Reply:
        target, calls = self._target, self._record.calls
        config = target.config.model(target.model)
        tokens = input_tokens(request)
        # what was paid here is not on the batch's bill yet
        paid_usd = sum(one.cost_usd for one in calls)
        cost = cost_usd(config, tokens) + paid_usd
        ask = Ask(self._id, self._token, tokens, cost, started=bool(calls))
        return await self._here.limiter.admit(target.model, config, ask)

    async def _turned_away(self, reply: Reply) -> None:
        """The call may not be made: the job is gone, or waits, or goes to another model."""
        if reply.verdict is Verdict.PAUSED:
            await self._record.park(self._target, reply.detail)
        elif reply.verdict is Verdict.OPEN:
            await self._around_breaker(reply.detail)
        elif reply.verdict is Verdict.EXPIRED:
            self._record.expired()
        elif self._record.calls:  # cancelled meanwhile: what was paid is counted
            await self._record.end(JobError(type=ErrorType.CANCELLED, message="Cancelled."))

    async def _around_breaker(self, reason: str) -> None:
        """The first model of the chain that is not down; else wait for this one."""
        target, config = self._target, self._target.config
        chain = config.fallback_chain(target.decision.model, route=target.decision.route)
        waits = config.breaker_of(target.model).when_open == "wait"
        if not waits and reason != UNAUTHENTICATED:
            down = await self._down()
            tried = {one.model for one in self._record.counted} | {target.model}
            if found := next((name for name in chain if name not in tried | down), None):
                await self._record.release(target, found, why=Why.FALLBACK, send=True)
                self._moved(Why.FALLBACK, found, "breaker open")
                return
        if self._has_waited_enough() and reason != UNAUTHENTICATED:
            await self._record.end(self._gave_up())
            return
        await self._record.park(self._target, parking.model_place(target.model), outage=True)

    # call

    async def _call(self, request: Job, grant: Reply) -> Shortfall | None:
        """One call; None if the job has ended with it or was given back."""
        target = self._target
        started, clock = datetime.fromtimestamp(self._here.clock.now_s(), UTC), time.perf_counter()
        answer = failure = None
        try:
            answer = await self._here.calls.make(
                self._here.client.generate(
                    request,
                    target.call_decision,
                    model=target.model,
                    timeout_s=target.config.model(target.model).timeout_s,
                )
            )
        except asyncio.CancelledError:
            failure = interrupted()
        except Exception as error:
            failure = classify_exception(error)
        else:
            failure = found_wanting(target.job, answer)
        attempt = Attempt(
            model=target.model,
            started=started,
            duration_s=round(time.perf_counter() - clock, 6),
            error=failure.error if failure else None,
            **self._bill(answer),
        )
        self._record.calls.append(attempt)
        self._here.observer.called(attempt)
        told = self._tell(grant, answer, failure)
        if answer is not None and failure is None:
            self._here.feedback.answered(target.decision)
            await self._record.succeed(answer, told)
            return None
        await self._record.write(told)
        if failure is None or failure.error.type is ErrorType.WORKER_LOST:
            await self._record.give_back(target)
            return None
        return Shortfall(failure, answer)

    def _bill(self, answer: Answer | None) -> dict[str, Any]:
        if answer is None:
            return {}
        price = self._target.config.model(self._target.model).price
        return {"usage": answer.usage, "cost_usd": price.cost_usd(answer.usage)}

    def _tell(
        self, grant: Reply, answer: Answer | None, failure: CallFailure | None
    ) -> list[Call[Any]]:
        """What quota and breaker must know of a call."""
        target, limiter = self._target, self._here.limiter
        model, config = target.model, target.config.model(target.model)
        kind = failure.error.type if failure else None
        refused = kind is ErrorType.QUOTA_EXCEEDED
        tokens: int | str | None = VOID if refused else None
        if answer is not None and answer.usage.prompt_tokens:
            tokens = answer.usage.prompt_tokens
        told: list[Call[Any]] = [*limiter.settle(model, config, self._id, grant.ticket, tokens)]
        probe = self._id if grant.probe else ""
        if failure and kind in retry.TRANSIENT:
            told.append(self._here.breakers.failed(model, target.config, probe=probe))
        elif failure and kind is ErrorType.UNAUTHENTICATED:
            log.error("The key is refused; every model waits: %s", failure.error.message)
            told.append(
                breakers.trip(list(target.config.models), reason=UNAUTHENTICATED, for_s=KEY_OPEN_S)
            )
        elif failure and refused:
            told.insert(0, self._tell_refusal(grant, failure))
        else:
            told += self._here.breakers.went_well(model, target.config, probe=probe)
        return told

    def _tell_refusal(self, grant: Reply, failure: CallFailure) -> Call[Any]:
        model = self._target.model
        self._here.observer.rate_limited(model, failure.quota or QuotaKind.UNNAMED)
        if failure.quota is QuotaKind.REQUESTS_PER_DAY:
            # Google's own wait may be longer than the day, and is often far too short for it
            asked_s = self._here.clock.now_s() + (failure.retry_after_s or 0.0)
            until_s = max(self._here.limiter.day_reset_s(), asked_s)
            return breakers.trip([model], reason=DAILY_QUOTA, until_s=until_s)
        config = self._target.config.model(model)
        return self._here.limiter.refused(model, config, grant.ticket, failure)

    # what follows

    async def _verdict(self, outcome: Shortfall) -> retry.Verdict:
        target = self._target
        return retry.decide(
            retry.Case(
                failure=outcome.failure,
                model=target.model,
                first_model=target.decision.model,
                route=target.decision.route,
                attempts=self._record.counted,
                down=await self._down(),
                config=target.config,
            )
        )

    async def _act(self, verdict: retry.Verdict, outcome: Shortfall) -> Onward | None:
        target, error = self._target, outcome.failure.error
        if error.type is ErrorType.MODEL_UNAVAILABLE:
            log.error("Model %s cannot be used: %s", target.model, error.message)
        if isinstance(verdict, retry.TryAgain):
            return await self._try_again(verdict, error)
        patient = error.type is ErrorType.UNAUTHENTICATED or not self._has_waited_enough()
        if isinstance(verdict, retry.Wait) and patient:
            await self._record.park(target, parking.model_place(target.model), outage=True)
        else:
            await self._record.end(error, outcome.answer)
        return None

    async def _try_again(self, verdict: retry.TryAgain, error: JobError) -> Onward | None:
        target, delay_s = self._target, verdict.delay_s
        if verdict.why is Why.ESCALATION:
            self._here.feedback.escalated(target.decision)
        released = await self._record.release(
            target, verdict.model, why=verdict.why, delay_s=delay_s
        )
        self._moved(verdict.why, verdict.model, error.type)
        tier = target.config.model(verdict.model).tier
        return Onward(tier, delay_s) if released else None

    def _moved(self, why: Why, to_model: str, reason: str) -> None:
        self._here.observer.moved(
            why, from_model=self._target.model, to_model=to_model, reason=reason
        )

    def _repaired(self, outcome: Shortfall) -> Job:
        self._here.feedback.repaired(self._target.decision)
        self._moved(Why.RETRY, self._target.model, outcome.failure.error.type)
        return repair_job(self._target.job, outcome.text, [outcome.failure.error.message])

    async def _down(self) -> frozenset[str]:
        """Models whose breaker is open."""
        names = list(self._target.config.models)
        found = await self._record.write([breakers.breaker(name) for name in names])
        return frozenset(name for name, one in zip(names, found, strict=True) if one)

    def _has_waited_enough(self) -> bool:
        since_s = self._claim.held_up_since_s
        patience_s = self._target.config.retry_of(self._target.model).give_up_after_s
        return since_s is not None and self._here.clock.now_s() - since_s > patience_s

    def _gave_up(self) -> JobError:
        hours = self._target.config.retry_of(self._target.model).give_up_after_s / 3600
        last = next((one.error for one in reversed(self._record.before) if one.error), None)
        reason = f" Last error: {last.message}" if last else ""
        return JobError(
            type=ErrorType.MODEL_UNAVAILABLE,
            message=f"Every model of the chain has been down for more than {hours:g} h.{reason}",
        )
