"""Results for tests of the report: ended jobs with decisions, calls and errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from promptyard.catalog import Catalog, ModelCard, Price
from promptyard.job import (
    Attempt,
    Decision,
    ErrorType,
    JobError,
    JobResult,
    JobState,
    Timings,
    Usage,
)
from promptyard.names import Tier

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PRO, FLASH, LITE = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"
MODELS = {Tier.PRO: PRO, Tier.FLASH: FLASH, Tier.LITE: LITE}
CATALOG = Catalog(
    policy_version="p1",
    tier_models=MODELS,
    models={
        PRO: ModelCard(tier=Tier.PRO, price=Price(input=1.0, output=10.0), rpm=10, tpm=1000),
        FLASH: ModelCard(tier=Tier.FLASH, price=Price(input=0.3, output=2.5)),
        LITE: ModelCard(tier=Tier.LITE, price=Price(input=0.1, output=0.4)),
    },
)


def call(
    model: str = LITE,
    error: ErrorType | None = None,
    *,
    at_s: float = 1.0,
    duration_s: float = 0.5,
    tokens: int = 100,
) -> Attempt:
    """One call, so many seconds after noon."""
    return Attempt(
        model=model,
        started=NOON + timedelta(seconds=at_s),
        duration_s=duration_s,
        error=JobError(type=error, message="it was") if error else None,
        usage=Usage(prompt_tokens=tokens, output_tokens=10),
        cost_usd=0.01,
    )


def decision(
    tier: Tier = Tier.LITE,
    *,
    route: str | None = "lite",
    stage: str = "semantic",
    margin: float | None = 0.4,
) -> Decision:
    """Why a job went to a tier."""
    return Decision(
        stage=stage,
        route=route,
        tier=tier,
        model=MODELS[tier],
        scores={"lite": 0.8, "pro": 0.4, "flash": 0.6},
        margin=margin,
        policy_version="p1",
    )


def result(
    number: int = 1,
    *,
    calls: Sequence[Attempt] = (call(),),
    decided: Decision | None = None,
    error: ErrorType | None = None,
    status: JobState | None = None,
    name: str | None = None,
) -> JobResult:
    """An ended job: of a lite route, accepted at noon, unless told otherwise."""
    decided = decided or decision()
    last = calls[-1] if calls else None
    return JobResult(
        id=f"job-{number}",
        custom_id=name or f"c{number}",
        batch_id="batch-1",
        line=number,
        status=status or (JobState.FAILED if error else JobState.SUCCEEDED),
        text=None if error else "a marked answer",
        tier=decided.tier,
        model=last.model if last else decided.model,
        decision=decided,
        attempts=tuple(calls),
        usage=Usage.total(one.usage for one in calls),
        cost_usd=sum(one.cost_usd for one in calls),
        timings=Timings(
            accepted=NOON,
            routed=NOON,
            started=calls[0].started if calls else None,
            finished=NOON + timedelta(seconds=10),
        ),
        error=JobError(type=error, message="it was") if error else None,
    )
