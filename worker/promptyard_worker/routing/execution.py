"""The schema of how models are called in router.yaml: price, quota, retries, breaker."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from promptyard.catalog import Price
from promptyard.names import Tier
from promptyard_worker.routing.stages import Frozen


class RetryConfig(Frozen):
    """How often and how patiently one model is tried, and a job is carried on."""

    #: Calls per model, the first included.
    max_attempts: int = Field(default=4, ge=1)
    #: Upper bound of the first wait; it doubles with each attempt.
    base_delay_s: float = Field(default=1.0, gt=0)
    #: No wait is longer, unless the server asks for it.
    max_delay_s: float = Field(default=30.0, gt=0)
    #: A job that waits because every model of its chain is down fails after so long.
    give_up_after_s: float = Field(default=6 * 3600.0, gt=0)
    #: A job in whose hands this many workers died is poison: it fails.
    max_worker_lost: int = Field(default=3, ge=1)
    #: Whether a safety refusal goes to the next model of the chain, instead of ending the job.
    fallback_when_blocked: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_delay_s < self.base_delay_s:
            raise ValueError("max_delay_s is smaller than base_delay_s: raise it")
        return self


class QuotaConfig(Frozen):
    """What the model's owner allows all workers together; None: no limit.

    Google counts requests and input tokens of any 60 seconds, and requests of a day that ends
    at midnight Pacific time (https://ai.google.dev/gemini-api/docs/rate-limits).
    """

    #: Requests a minute.
    rpm: int | None = Field(default=None, gt=0)
    #: Input tokens a minute.
    tpm: int | None = Field(default=None, gt=0)
    #: Requests a day.
    rpd: int | None = Field(default=None, gt=0)
    #: Calls at the same time.
    max_concurrency: int | None = Field(default=None, gt=0)
    #: By how much of a minute our minute is longer than Google's, so that calls that take
    #: different times to arrive cannot fall into one minute.
    safety: float = Field(default=0.01, ge=0, lt=1)


class BreakerConfig(Frozen):
    """When a model that fails is left alone for a while (Nygard, Release It!, 2007)."""

    #: Share of failed calls that opens the breaker: 5xx, timeouts, broken connections.
    failure_rate: float = Field(default=0.5, gt=0, le=1)
    #: Calls are counted over this long.
    window_s: float = Field(default=30.0, ge=1)
    #: Fewer calls in the window say nothing.
    min_calls: int = Field(default=10, ge=1)
    #: How long it stays open before one call may try; doubles while those fail.
    open_s: float = Field(default=5.0, gt=0)
    max_open_s: float = Field(default=60.0, gt=0)
    #: What a job does meanwhile: go to the next model of its chain, or wait for its own.
    when_open: Literal["fallback", "wait"] = "fallback"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_open_s < self.open_s:
            raise ValueError("max_open_s is smaller than open_s: raise it")
        return self


class ModelConfig(Frozen):
    """What the workers must know of a model."""

    #: The queue that calls it.
    tier: Tier
    price: Price
    #: Most prompt tokens it reads.
    context_window: int = Field(gt=0)
    #: Tokens of a usual answer, thinking included; only estimates of cost read it.
    typical_output_tokens: int = Field(default=500, ge=0)
    #: How long one call may take.
    timeout_s: float = Field(gt=0)
    quota: QuotaConfig = QuotaConfig()
    #: Overrides the file's ``retry``.
    retry: RetryConfig | None = None
    #: Overrides the file's ``breaker``.
    breaker: BreakerConfig | None = None
