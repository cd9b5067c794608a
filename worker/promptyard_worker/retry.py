"""What to do about a failed call: a policy that decides; the generate task acts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptyard.job import ErrorType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptyard.job import Attempt
    from promptyard_worker.gemini.taxonomy import CallFailure
    from promptyard_worker.routing.config import RouterConfig


@dataclass(frozen=True)
class GiveUp:
    """The job fails with its last error."""


@dataclass(frozen=True)
class TryAgain:
    """The job is called again."""

    model: str
    delay_s: float
    #: Whether ``model`` is another than the one that failed.
    fallback: bool = False


def decide(
    failure: CallFailure,
    *,
    model: str,
    first_model: str,
    attempts: Sequence[Attempt],
    config: RouterConfig,
    rng: random.Random | None = None,
) -> GiveUp | TryAgain:
    """Choose what follows a failed call.

    Transient errors are tried again on the same model after exponential backoff with full
    jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), never
    sooner than the server asked; then at once on the next model of the fallback chain.

    Args:
        failure: what went wrong.
        model: the model that failed.
        first_model: the model the job was routed to; its chain is followed.
        attempts: every attempt so far, this one included.
        config: holds the chain and the policy.
        rng: source of the jitter; the module's own if None.
    """
    if not failure.retryable:
        return GiveUp()
    policy = config.retry_of(model)
    calls = sum(attempt.model == model and not _was_lost(attempt) for attempt in attempts)
    if calls < policy.max_attempts:
        ceiling_s = min(policy.max_delay_s, policy.base_delay_s * 2 ** (calls - 1))
        jitter_s = (rng or random).uniform(0, ceiling_s)
        return TryAgain(model, max(jitter_s, failure.retry_after_s or 0.0))
    chain = config.fallback_chain(first_model)
    tried = {attempt.model for attempt in attempts}
    for candidate in chain:
        if candidate not in tried:
            return TryAgain(candidate, 0.0, fallback=True)
    return GiveUp()


def _was_lost(attempt: Attempt) -> bool:
    """Whether the worker died, which says nothing about the model."""
    return attempt.error is not None and attempt.error.type is ErrorType.WORKER_LOST
