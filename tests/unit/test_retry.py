"""decide(): what follows a failed call."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from promptyard.job import Attempt, ErrorType, JobError
from promptyard_worker.gemini.taxonomy import CallFailure
from promptyard_worker.retry import GiveUp, TryAgain, decide
from promptyard_worker.routing import RouterConfig

MODEL = {
    "price": {"input": 1, "output": 2},
    "context_window": 1000,
    "timeout_s": 5,
}
CONFIG = RouterConfig.model_validate(
    {
        "version": 1,
        "default": "pro",
        "routes": [
            {"name": "hard", "tier": "pro", "model": "big", "fallback": ["mid", "small"]},
        ],
        "models": {
            "big": {"tier": "pro", **MODEL},
            "mid": {"tier": "flash", **MODEL, "retry": {"max_attempts": 1}},
            "small": {"tier": "lite", **MODEL, "retry": {"max_attempts": 2}},
        },
        "retry": {"max_attempts": 4, "base_delay_s": 1, "max_delay_s": 3},
    }
)


def failure(
    kind: ErrorType = ErrorType.SERVER_ERROR,
    *,
    retryable: bool = True,
    retry_after_s: float | None = None,
) -> CallFailure:
    """A failed call."""
    return CallFailure(JobError(type=kind, message="x"), retryable, retry_after_s)


def attempts(*models: str) -> tuple[Attempt, ...]:
    """Attempts that failed on these models, in order."""
    error = JobError(type=ErrorType.SERVER_ERROR, message="x")
    now = datetime.now(UTC)
    return tuple(Attempt(model=name, started=now, duration_s=0, error=error) for name in models)


def verdict(tried: tuple[Attempt, ...], found: CallFailure | None = None, **more: Any) -> Any:
    """The decision for a job that was routed to ``big``."""
    return decide(
        found or failure(),
        model=tried[-1].model,
        first_model="big",
        attempts=tried,
        config=CONFIG,
        **more,
    )


def delays(tries: int, **more: Any) -> list[float]:
    """Many draws of the delay after so many calls of ``big``."""
    rng = random.Random(7)
    drawn = [verdict(attempts(*["big"] * tries), rng=rng, **more) for _ in range(2000)]
    assert all(isinstance(one, TryAgain) and one.model == "big" for one in drawn)
    assert not any(one.fallback for one in drawn)
    return [one.delay_s for one in drawn]


@pytest.mark.parametrize(("tries", "ceiling_s"), [(1, 1.0), (2, 2.0), (3, 3.0)])
def test_full_jitter(tries: int, ceiling_s: float) -> None:
    """Delays fill 0 to a ceiling that doubles up to max_delay_s, evenly."""
    drawn = delays(tries)
    assert 0 <= min(drawn) < 0.02 * ceiling_s
    assert 0.98 * ceiling_s < max(drawn) <= ceiling_s
    assert sum(drawn) / len(drawn) == pytest.approx(ceiling_s / 2, rel=0.05)


def test_the_jitter_is_the_given_sources() -> None:
    """The same seed, the same delays: a replay is exact."""
    assert delays(2) == delays(2)


def test_the_server_sets_a_floor() -> None:
    """Never sooner than it asked, also beyond max_delay_s; later if the jitter says so."""
    assert min(delays(1, found=failure(retry_after_s=0.9))) == 0.9
    assert max(delays(1, found=failure(retry_after_s=0.9))) > 0.9
    assert set(delays(1, found=failure(retry_after_s=60))) == {60}


def test_a_models_attempts_are_its_own() -> None:
    """Calls of one model do not count for another; each has its own policy."""
    after_big = verdict(attempts("big", "big", "big", "big"))
    assert after_big == TryAgain("mid", 0.0, fallback=True)
    # mid has one attempt by its own policy
    after_mid = verdict(attempts("big", "big", "big", "big", "mid"))
    assert after_mid == TryAgain("small", 0.0, fallback=True)
    again = verdict(attempts("big", "big", "big", "big", "mid", "small"))
    assert (again.model, again.fallback) == ("small", False)


def test_a_used_up_chain_gives_up() -> None:
    """No model is tried anew."""
    tried = attempts("big", "big", "big", "big", "mid", "small", "small")
    assert verdict(tried) == GiveUp()


def test_a_fallback_does_not_wait_for_the_failed_model() -> None:
    """What the failed model's server asked for is not the other model's business."""
    found = verdict(attempts(*["big"] * 4), failure(retry_after_s=60))
    assert found == TryAgain("mid", 0.0, fallback=True)


def test_a_model_without_a_route_has_no_fallback() -> None:
    """An explicit model that no route calls is tried, and then the job fails."""
    tried = attempts("mid")
    found = decide(failure(), model="mid", first_model="mid", attempts=tried, config=CONFIG)
    assert found == GiveUp()


def test_what_cannot_be_mended_is_not_tried_again() -> None:
    """Not on this model and not on another."""
    found = failure(ErrorType.INVALID_REQUEST, retryable=False)
    assert verdict(attempts("big"), found) == GiveUp()
