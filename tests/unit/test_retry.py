"""decide(): what follows a call that brought nothing. One test a row of DESIGN §5."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from promptyard.job import Attempt, ErrorType, JobError
from promptyard.store.running import Why
from promptyard_worker.gemini.taxonomy import CallFailure, QuotaKind
from promptyard_worker.retry import Again, Case, GiveUp, Repair, TryAgain, Verdict, Wait, decide
from promptyard_worker.routing import RouterConfig

MODEL = {"price": {"input": 1, "output": 2}, "context_window": 1000, "timeout_s": 5}
FILE: dict[str, Any] = {
    "version": 1,
    "default": "pro",
    "routes": [
        {"name": "hard", "tier": "pro", "model": "big", "fallback": ["mid", "small"]},
        {"name": "usual", "tier": "flash", "model": "mid", "fallback": ["small"]},
        {"name": "easy", "tier": "lite", "model": "small", "fallback": ["mid"]},
    ],
    "models": {
        "big": {"tier": "pro", **MODEL, "context_window": 8000},
        "mid": {"tier": "flash", **MODEL, "context_window": 4000, "retry": {"max_attempts": 1}},
        "small": {"tier": "lite", **MODEL, "retry": {"max_attempts": 2}},
        "odd": {"tier": "flash", **MODEL},
    },
    "retry": {"max_attempts": 4, "base_delay_s": 1, "max_delay_s": 3},
}
CONFIG = RouterConfig.model_validate(FILE)
TO_MID = TryAgain("mid", why=Why.FALLBACK)


def failure(kind: ErrorType = ErrorType.SERVER_ERROR, **more: Any) -> CallFailure:
    """A failed call."""
    return CallFailure(JobError(type=kind, message="x"), retryable=True, **more)


def attempts(*models: str, kind: ErrorType = ErrorType.SERVER_ERROR) -> tuple[Attempt, ...]:
    """Attempts that failed on these models, in order."""
    error = JobError(type=kind, message="x")
    now = datetime.now(UTC)
    return tuple(Attempt(model=name, started=now, duration_s=0, error=error) for name in models)


def verdict(
    *models: str,
    found: CallFailure | None = None,
    first_model: str = "big",
    down: tuple[str, ...] = (),
    config: RouterConfig = CONFIG,
    rng: random.Random | None = None,
) -> Verdict:
    """What follows these calls, all of which ended as the last one did."""
    found = found or failure()
    case = Case(
        failure=found,
        model=models[-1],
        first_model=first_model,
        route=None,
        attempts=attempts(*models, kind=found.error.type),
        down=frozenset(down),
        config=config,
    )
    return decide(case, rng)


def delays(calls: int, **more: Any) -> list[float]:
    """Many draws of the delay after so many calls of ``big``."""
    rng = random.Random(7)
    found = [verdict(*["big"] * calls, rng=rng, **more) for _ in range(2000)]
    drawn = [one for one in found if isinstance(one, TryAgain) and one.model == "big"]
    assert len(drawn) == len(found)
    assert all(one.why is Why.RETRY for one in drawn)
    return [one.delay_s for one in drawn]


@pytest.mark.parametrize(("calls", "ceiling_s"), [(1, 1.0), (2, 2.0), (3, 3.0)])
def test_full_jitter(calls: int, ceiling_s: float) -> None:
    """Delays fill 0 to a ceiling that doubles up to max_delay_s, evenly."""
    drawn = delays(calls)
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
    assert verdict(*["big"] * 4) == TO_MID
    # mid has one attempt by its own policy
    assert verdict(*["big"] * 4, "mid") == TryAgain("small", why=Why.FALLBACK)
    again = verdict(*["big"] * 4, "mid", "small")
    assert isinstance(again, TryAgain)
    assert (again.model, again.why) == ("small", Why.RETRY)


def test_a_used_up_chain_gives_up() -> None:
    """No model is tried anew."""
    assert verdict(*["big"] * 4, "mid", "small", "small") == GiveUp()


def test_a_fallback_does_not_wait_for_the_failed_model() -> None:
    """What the failed model's server asked for is not the other model's business."""
    assert verdict(*["big"] * 4, found=failure(retry_after_s=60)) == TO_MID


def test_a_model_without_a_route_has_no_fallback() -> None:
    """An explicit model that no route calls is tried, and then the job fails."""
    assert verdict(*["odd"] * 4, first_model="odd") == GiveUp()


def test_a_model_that_is_down_is_not_called() -> None:
    """Its breaker opened meanwhile: no attempt is wasted on it, nor on a fallback that is down."""
    assert verdict("big", down=("big",)) == TO_MID
    assert verdict("big", down=("big", "mid")) == TryAgain("small", why=Why.FALLBACK)


def test_in_an_outage_no_job_fails() -> None:
    """The chain is used up, but a breaker is open: it was not the job's fault."""
    assert verdict("big", down=("big", "mid", "small")) == Wait()
    assert verdict(*["big"] * 4, "mid", "small", "small", down=("small",)) == Wait()
    assert verdict(*["big"] * 4, "mid", "small", "small", down=("odd",)) == GiveUp()


def test_a_policy_may_wait_for_its_own_model() -> None:
    """``when_open: wait`` does not fall back while the breaker is open."""
    config = RouterConfig.model_validate({**FILE, "breaker": {"when_open": "wait"}})
    assert verdict("big", down=("big",), config=config) == Wait()
    assert verdict(*["big"] * 4, config=config) == TO_MID, "closed: the attempts decide"


@pytest.mark.parametrize(
    "quota", [None, QuotaKind.UNNAMED, QuotaKind.REQUESTS_PER_MINUTE, QuotaKind.TOKENS_PER_MINUTE]
)
def test_a_minutes_quota_burns_no_attempt(quota: QuotaKind | None) -> None:
    """429: the same model as soon as the shared quota lets it through, however often."""
    found = failure(ErrorType.QUOTA_EXCEEDED, quota=quota)
    assert verdict(*["big"] * 9, found=found) == Again()


def test_a_days_quota_falls_back_at_once() -> None:
    """429 of a day: the next model; without one it waits, since its breaker is open till then."""
    found = failure(ErrorType.QUOTA_EXCEEDED, quota=QuotaKind.REQUESTS_PER_DAY)
    assert verdict("big", found=found, down=("big",)) == TO_MID
    assert verdict("big", found=found, down=("big", "mid", "small")) == Wait()


def test_a_model_that_is_not_there_is_replaced() -> None:
    """404, or 403 for this model: the next one, at once; none left: it fails."""
    found = failure(ErrorType.MODEL_UNAVAILABLE)
    assert verdict("big", found=found) == TO_MID
    assert verdict("big", "mid", "small", found=found) == GiveUp()


def test_a_refused_key_fails_no_job() -> None:
    """401: the job waits."""
    assert verdict("big", found=failure(ErrorType.UNAUTHENTICATED)) == Wait()


@pytest.mark.parametrize("kind", [ErrorType.INVALID_REQUEST, ErrorType.INTERNAL, ErrorType.SAFETY])
def test_what_cannot_be_mended_is_not_tried_again(kind: ErrorType) -> None:
    """Not on this model and not on another."""
    assert verdict("big", found=failure(kind)) == GiveUp()


def test_a_refusal_may_fall_back_by_policy() -> None:
    """``retry.fallback_when_blocked``: the next model of the chain, then blocked."""
    retry = {**FILE["retry"], "fallback_when_blocked": True}
    models = {**FILE["models"], "mid": {"tier": "flash", **MODEL}}
    config = RouterConfig.model_validate({**FILE, "retry": retry, "models": models})
    found = failure(ErrorType.SAFETY)
    assert verdict("big", found=found, config=config) == TO_MID


def test_a_long_prompt_goes_to_the_smallest_window_that_fits() -> None:
    """By the count the server gave; else to the next larger window; else it fails."""

    def found(needed_tokens: int | None) -> CallFailure:
        return failure(ErrorType.CONTEXT_TOO_LONG, needed_tokens=needed_tokens)

    assert verdict("small", found=found(1500), first_model="small") == TO_MID
    big = TryAgain("big", why=Why.FALLBACK)
    assert verdict("small", found=found(4001), first_model="small") == big
    assert verdict("small", found=found(None), first_model="small") == TO_MID
    assert verdict("small", found=found(9000), first_model="small") == GiveUp()
    assert verdict("big", found=found(None)) == GiveUp()


def test_an_empty_answer_is_tried_once_more_then_stronger() -> None:
    """Empty on small, small, mid, mid, big, big: then it fails."""
    found = failure(ErrorType.EMPTY_RESPONSE)
    calls = ["small"]
    for again, stronger in (("small", "mid"), ("mid", "big")):
        assert verdict(*calls, found=found, first_model="small") == TryAgain(again)
        calls.append(again)
        up = TryAgain(stronger, why=Why.ESCALATION)
        assert verdict(*calls, found=found, first_model="small") == up
        calls.append(stronger)
    assert verdict(*calls, "big", found=found, first_model="small") == GiveUp()


def test_a_wrong_schema_is_repaired_once_then_stronger() -> None:
    """The repair is on the same model; after it the next stronger one."""
    found = failure(ErrorType.SCHEMA_MISMATCH)
    assert verdict("small", found=found, first_model="small") == Repair()
    up = TryAgain("mid", why=Why.ESCALATION)
    assert verdict("small", "small", found=found, first_model="small") == up
    assert verdict("big", "big", found=found) == GiveUp()
