"""The policy: the schema of router.yaml and the questions the workers ask it.

The shape is checked here; what needs two places of the file to judge (a route naming a
model) is checked in ``checks.py`` when the file is loaded.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from promptyard.catalog import Catalog, ModelCard, Price
from promptyard.errors import RouterFileError
from promptyard.names import Tier

Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderConfig(_Frozen):
    """What turns a text into a vector."""

    #: ``static``: the embedded table; no download, no key, English.
    type: Literal["static"] = "static"
    #: Folder of another model2vec table; in the file, relative to the file.
    path: Path | None = None


class SemanticConfig(_Frozen):
    """How utterances score a route."""

    #: Nearest utterances of each route that count.
    top_k: int = Field(default=5, ge=1)
    #: How their similarities become the route's score.
    aggregation: Literal["mean", "max"] = "mean"


class RetryConfig(_Frozen):
    """How often and how patiently one model is tried."""

    #: Calls per model, the first included.
    max_attempts: int = Field(default=4, ge=1)
    #: Upper bound of the first wait; it doubles with each attempt.
    base_delay_s: float = Field(default=1.0, gt=0)
    #: No wait is longer, unless the server asks for it.
    max_delay_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_delay_s < self.base_delay_s:
            raise ValueError("max_delay_s is smaller than base_delay_s: raise it")
        return self


class RouteConfig(_Frozen):
    """Prompts like these go to this tier and model."""

    name: Name
    tier: Tier
    model: Name
    description: str = ""
    #: Least score at which the route takes a prompt; None: no bar.
    threshold: float | None = Field(default=None, ge=-1, le=1)
    #: Thinking budget in tokens: 0 off, -1 dynamic, None the model's own default.
    thinking_budget: int | None = Field(default=None, ge=-1)
    #: Models to try after ``model``, in this order.
    fallback: tuple[Name, ...] = ()
    #: Example prompts.
    utterances: tuple[Name, ...] = ()


class ModelConfig(_Frozen):
    """What the workers must know of a model."""

    #: The queue that calls it.
    tier: Tier
    price: Price
    #: Most prompt tokens it reads.
    context_window: int = Field(gt=0)
    #: How long one call may take.
    timeout_s: float = Field(gt=0)
    #: Overrides the file's ``retry``.
    retry: RetryConfig | None = None


class RouterConfig(_Frozen):
    """router.yaml."""

    version: Literal[1]
    encoder: EncoderConfig = EncoderConfig()
    semantic: SemanticConfig = SemanticConfig()
    #: Tier of a prompt that no route takes.
    default: Tier
    routes: tuple[RouteConfig, ...]
    models: dict[Name, ModelConfig]
    retry: RetryConfig = RetryConfig()

    _policy_version: str | None = PrivateAttr(default=None)

    @property
    def policy_version(self) -> str:
        """12 hex digits of the SHA-256 of the file's bytes (of the content, if built in code)."""
        return self._policy_version or digest(self.model_dump_json().encode())

    def at_version(self, policy_version: str) -> RouterConfig:
        """The same policy under the version of the file it came from."""
        copy = self.model_copy()
        copy._policy_version = policy_version
        return copy

    def model(self, name: str) -> ModelConfig:
        """A model by its name.

        Raises:
            RouterFileError: the file has no such model.
        """
        try:
            return self.models[name]
        except KeyError:
            known = ", ".join(self.models)
            raise RouterFileError(
                f"The router file has no model {name!r}; it has {known}."
            ) from None

    def models_of_tier(self, tier: Tier) -> tuple[str, ...]:
        """Names of the models that a tier calls, in the file's order."""
        return tuple(name for name, model in self.models.items() if model.tier is tier)

    def default_model(self, tier: Tier) -> str:
        """The model of the tier's first route, else the tier's first model.

        Raises:
            RouterFileError: the tier has neither.
        """
        for route in self.routes:
            if route.tier is tier:
                return route.model
        for name in self.models_of_tier(tier):
            return name
        raise RouterFileError(f"The router file has no model for the tier {tier.value!r}.")

    def fallback_chain(self, model: str, *, route: str | None = None) -> tuple[str, ...]:
        """Models to call in turn, ``model`` first, none twice.

        Args:
            model: the decision's model.
            route: the decision's route; None: the first route that calls ``model``.
        """
        chosen = next(
            (r for r in self.routes if (r.name == route if route else r.model == model)), None
        )
        fallback = chosen.fallback if chosen else ()
        return tuple(dict.fromkeys((model, *fallback)))

    def thinking_budget(self, model: str) -> int | None:
        """Budget of the first route that calls the model; None if no route does."""
        return next((r.thinking_budget for r in self.routes if r.model == model), None)

    def retry_of(self, model: str) -> RetryConfig:
        """The model's own retry policy, else the file's."""
        return self.model(model).retry or self.retry

    def catalog(self) -> Catalog:
        """Tiers and prices, as the workers publish them to the producers."""
        tiers = [tier for tier in Tier if self._serves(tier)]
        return Catalog(
            policy_version=self.policy_version,
            tier_models={tier: self.default_model(tier) for tier in tiers},
            models={
                name: ModelCard(tier=model.tier, price=model.price)
                for name, model in self.models.items()
            },
        )

    def _serves(self, tier: Tier) -> bool:
        return bool(self.models_of_tier(tier)) or any(r.tier is tier for r in self.routes)


def digest(content: bytes) -> str:
    """The version of a policy with this content."""
    return hashlib.sha256(content).hexdigest()[:12]
