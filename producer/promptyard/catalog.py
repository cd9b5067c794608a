"""What the models cost and which tier calls them, as the workers publish it.

Producers have no router.yaml; the workers write this catalog into the store when they
start, so that anyone with the Redis URL can price a batch.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from promptyard.job import Usage
from promptyard.names import Tier

_PER_MILLION = 1e-6


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenPrice(_Frozen):
    """US dollars per million tokens; thinking is billed as output.

    Source: https://ai.google.dev/gemini-api/docs/pricing.
    """

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    #: Prompt tokens read from a context cache; None: as ``input``.
    cached_input: float | None = Field(default=None, ge=0)

    def cost_usd(self, usage: Usage) -> float:
        """Price of one call in US dollars."""
        cached_rate = self.input if self.cached_input is None else self.cached_input
        fresh = max(usage.prompt_tokens - usage.cached_tokens, 0)
        return _PER_MILLION * (
            fresh * self.input
            + usage.cached_tokens * cached_rate
            + (usage.output_tokens + usage.thinking_tokens) * self.output
        )


class LongContextPrice(TokenPrice):
    """The price of a call whose prompt is longer than ``above_tokens``."""

    above_tokens: int = Field(gt=0)


class Price(TokenPrice):
    """A model's price, with the dearer rate for long prompts where there is one."""

    long_context: LongContextPrice | None = None

    def cost_usd(self, usage: Usage) -> float:
        """Price of one call in US dollars."""
        long = self.long_context
        if long is not None and usage.prompt_tokens > long.above_tokens:
            return long.cost_usd(usage)
        return super().cost_usd(usage)


class _Published(_Frozen):
    """Read by other versions than the one that wrote it, while a yard is upgraded."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelCard(_Published):
    """One model of the catalog."""

    tier: Tier
    price: Price
    #: Requests and input tokens a minute, requests a day that the router file allows; None: any.
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    #: Calls at the same time; None: any number.
    max_concurrency: int | None = None
    #: How long one call may take; None: the worker that wrote this is older than the field.
    timeout_s: float | None = None


class Catalog(_Published):
    """The models of the running policy."""

    policy_version: str
    #: The model each tier calls by default.
    tier_models: dict[Tier, str]
    models: dict[str, ModelCard]

    def price_of_tier(self, tier: Tier) -> Price | None:
        """Price of the tier's default model; None if the policy has no such tier."""
        name = self.tier_models.get(tier)
        return self.models[name].price if name else None
