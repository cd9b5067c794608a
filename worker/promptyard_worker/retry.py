"""What follows a call that brought nothing: a policy that decides; ``handling`` acts.

The one place where DESIGN §5 is code. Everything is a function of what the call came to, the
job's calls so far, the router file, and which breakers are open.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from promptyard.job import Attempt, ErrorType
from promptyard.store.running import Why
from promptyard_worker.gemini.taxonomy import QuotaKind

if TYPE_CHECKING:
    from promptyard_worker.gemini.taxonomy import CallFailure
    from promptyard_worker.routing.config import RouterConfig

#: What happens in an outage, and to one call in a thousand at any time.
TRANSIENT: Final = frozenset({ErrorType.SERVER_ERROR, ErrorType.TIMEOUT, ErrorType.CONNECTION})
#: Calls per model that may bring an answer without text, or not of the schema.
_TRIES: Final = {ErrorType.EMPTY_RESPONSE: 2, ErrorType.SCHEMA_MISMATCH: 2}


@dataclass(frozen=True)
class GiveUp:
    """The job ends with its last error."""


@dataclass(frozen=True)
class Again:
    """The same call again as soon as the quota lets it through; no attempt is burned."""


@dataclass(frozen=True)
class Repair:
    """The same model again, told what was wrong with its answer."""


@dataclass(frozen=True)
class TryAgain:
    """The job is called again from its queue."""

    model: str
    delay_s: float = 0.0
    why: Why = Why.RETRY


@dataclass(frozen=True)
class Wait:
    """The job waits until its model is there again; its attempts so far no longer count."""


Verdict = GiveUp | Again | Repair | TryAgain | Wait


@dataclass(frozen=True, kw_only=True)
class Case:
    """A job whose call brought nothing."""

    failure: CallFailure
    #: The model that was called.
    model: str
    #: The model the job was routed to; its chain is followed.
    first_model: str
    #: Its route, whose fallback chain it is; None: the first route of the model.
    route: str | None
    #: Every call that counts, this one included.
    attempts: Sequence[Attempt]
    #: Models whose breaker is open.
    down: frozenset[str]
    config: RouterConfig

    @property
    def chain(self) -> tuple[str, ...]:
        """The models of the fallback chain, in order."""
        chain = self.config.fallback_chain(self.first_model, route=self.route)
        # escalated, or sent to a larger window: from there on its own
        return chain if self.model in chain else self.config.fallback_chain(self.model)

    def calls(self, *kinds: ErrorType) -> int:
        """Calls of this model that ended so."""
        return sum(
            one.model == self.model and one.error is not None and one.error.type in kinds
            for one in self.attempts
        )

    @property
    def next_model(self) -> str | None:
        """The first model of the chain that has not been called and is not down."""
        tried = {one.model for one in self.attempts if not _is_lost(one)} | {self.model}
        return next((name for name in self.chain if name not in tried | self.down), None)


def decide(case: Case, rng: random.Random | None = None) -> Verdict:
    """Choose what follows a call that brought nothing.

    Args:
        case: the job and its call.
        rng: source of the jitter; the module's own if None.
    """
    match case.failure.error.type:
        case kind if kind in TRANSIENT:
            return _after_outage(case, rng)
        case ErrorType.QUOTA_EXCEEDED:
            daily = case.failure.quota is QuotaKind.REQUESTS_PER_DAY
            return _fall_back(case) if daily else Again()
        case ErrorType.MODEL_UNAVAILABLE:
            return _fall_back(case)
        case ErrorType.UNAUTHENTICATED:
            return Wait()
        case ErrorType.CONTEXT_TOO_LONG:
            roomier = case.config.roomier_than(case.model, case.failure.needed_tokens)
            return TryAgain(roomier, why=Why.FALLBACK) if roomier else GiveUp()
        case ErrorType.EMPTY_RESPONSE | ErrorType.SCHEMA_MISMATCH as kind:
            return _after_bad_answer(case, kind)
        case ErrorType.SAFETY if case.config.retry_of(case.model).fallback_when_blocked:
            return TryAgain(case.next_model, why=Why.FALLBACK) if case.next_model else GiveUp()
        case _:
            return GiveUp()


def _after_outage(case: Case, rng: random.Random | None) -> Verdict:
    """Backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
    2015), never sooner than the server asked; then the next model, at once.
    """
    policy = case.config.retry_of(case.model)
    calls = case.calls(*TRANSIENT)
    if calls >= policy.max_attempts or case.model in case.down:
        return _fall_back(case)
    ceiling_s = min(policy.max_delay_s, policy.base_delay_s * 2 ** (calls - 1))
    jitter_s = (rng or random).uniform(0, ceiling_s)
    return TryAgain(case.model, max(jitter_s, case.failure.retry_after_s or 0.0))


def _fall_back(case: Case) -> Verdict:
    """The next model of the chain; while one of them is down, the job waits rather than fails."""
    if case.config.breaker_of(case.model).when_open == "wait" and case.model in case.down:
        return Wait()
    if found := case.next_model:
        return TryAgain(found, why=Why.FALLBACK)
    return Wait() if case.down & {case.model, *case.chain} else GiveUp()


def _after_bad_answer(case: Case, kind: ErrorType) -> Verdict:
    """Once more on the same model, then the next stronger one."""
    if case.calls(kind) < _TRIES[kind]:
        return Repair() if kind is ErrorType.SCHEMA_MISMATCH else TryAgain(case.model)
    stronger = case.config.stronger_than(case.model)
    return TryAgain(stronger, why=Why.ESCALATION) if stronger else GiveUp()


def _is_lost(attempt: Attempt) -> bool:
    """Whether the worker died, which says nothing about the model."""
    return attempt.error is not None and attempt.error.type is ErrorType.WORKER_LOST
