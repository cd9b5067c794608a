"""The policy: the schema of router.yaml and the questions the workers ask it.

The shape is checked here; what needs two places of the file to judge (a route naming a
model) is checked in ``checks.py`` when the file is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from promptyard.catalog import Catalog, ModelCard
from promptyard.errors import RouterFileError
from promptyard.names import Tier
from promptyard_worker.routing.execution import BreakerConfig, ModelConfig, RetryConfig
from promptyard_worker.routing.stages import (
    EncoderConfig,
    Frozen,
    JudgeConfig,
    LearnedConfig,
    Name,
    RuleConfig,
    SemanticConfig,
    StageName,
)

#: Between the names of a route and its sub-route.
SEPARATOR = "/"


class BandConfig(Frozen):
    """Prompts at least this hard think with this budget."""

    #: 0 (the cheapest arm is surely good enough) to 1 (only the dearest is).
    difficulty: float = Field(gt=0, le=1)
    #: Tokens; -1 dynamic.
    thinking_budget: int = Field(ge=-1)


class RouteConfig(Frozen):
    """Prompts like these go to this tier and model, or to one of these sub-routes."""

    name: Name
    #: Of a route without sub-routes.
    tier: Tier | None = None
    #: Of a route without sub-routes.
    model: Name | None = None
    description: str = ""
    #: Least score (probability, if calibrated) at which the route takes a prompt; None: the
    #: semantic stage's own threshold.
    threshold: float | None = Field(default=None, ge=-1, le=1)
    #: Thinking budget in tokens: 0 off, -1 dynamic, None the model's own default.
    thinking_budget: int | None = Field(default=None, ge=-1)
    #: Raise the budget of harder prompts; needs the learned stage, which knows how hard.
    bands: tuple[BandConfig, ...] = ()
    #: Models to try after ``model``, in this order.
    fallback: tuple[Name, ...] = ()
    #: Example prompts.
    utterances: tuple[Name, ...] = ()
    #: What to decide next, once a prompt is here (domain, then tier; pool, then model).
    routes: tuple[RouteConfig, ...] = ()

    @model_validator(mode="after")
    def _leaf_or_group(self) -> Self:
        if SEPARATOR in self.name:
            raise ValueError(f"a name cannot hold {SEPARATOR!r}: it stands between sub-routes")
        leaf_keys = ("tier", "model", "thinking_budget", "bands", "fallback")
        if self.routes:
            if given := [key for key in leaf_keys if key in self.model_fields_set]:
                raise ValueError(
                    f"a route with sub-routes has no {given[0]} of its own: give it to them"
                )
        elif self.tier is None or self.model is None:
            missing = "tier" if self.tier is None else "model"
            raise ValueError(f"a route without sub-routes needs a {missing}")
        return self

    def budget_at(self, difficulty: float | None) -> int | None:
        """Thinking budget for a prompt this hard (None: nobody knows)."""
        reached = [b for b in self.bands if difficulty is not None and difficulty >= b.difficulty]
        if reached:
            return max(reached, key=lambda band: band.difficulty).thinking_budget
        return self.thinking_budget

    def all_utterances(self) -> Iterator[str]:
        """Its own utterances, then those of its sub-routes."""
        yield from self.utterances
        for route in self.routes:
            yield from route.all_utterances()


class RouterConfig(Frozen):
    """router.yaml."""

    version: Literal[1]
    encoder: EncoderConfig = EncoderConfig()
    #: Turns before the last user turn that routing reads too.
    context_turns: int = Field(default=2, ge=0)
    #: The order of the stages; None: rules, semantic, learned, judge, those that are here.
    stages: tuple[StageName, ...] | None = None
    rules: tuple[RuleConfig, ...] = ()
    semantic: SemanticConfig = SemanticConfig()
    learned: LearnedConfig | None = None
    judge: JudgeConfig | None = None
    #: Tier of a prompt that no stage was sure of.
    default: Tier
    routes: tuple[RouteConfig, ...]
    models: dict[Name, ModelConfig]
    retry: RetryConfig = RetryConfig()
    breaker: BreakerConfig = BreakerConfig()

    _policy_version: str | None = PrivateAttr(default=None)

    @property
    def policy_version(self) -> str:
        """12 hex digits of the SHA-256 of the file's bytes (of the content, if built in code).

        With a fitted file, of both files' bytes.
        """
        return self._policy_version or digest(self.model_dump_json().encode())

    def at_version(self, policy_version: str) -> RouterConfig:
        """The same policy under the version of the files it came from."""
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

    @property
    def stage_order(self) -> tuple[StageName, ...]:
        """The stages that decide, in their order."""
        if self.stages is not None:
            return self.stages
        here: dict[StageName, bool] = {
            "rules": bool(self.rules),
            "semantic": any(True for route in self.routes for _ in route.all_utterances()),
            "learned": self.learned is not None,
            "judge": self.judge is not None,
        }
        return tuple(name for name, is_here in here.items() if is_here)

    def leaves(self) -> Iterator[tuple[str, RouteConfig]]:
        """Every route that has a model, with its address (``parent/child``)."""
        return _leaves("", self.routes)

    def route(self, address: str) -> RouteConfig | None:
        """A route or sub-route by its address."""
        found: RouteConfig | None = None
        routes = self.routes
        for name in address.split(SEPARATOR):
            found = next((route for route in routes if route.name == name), None)
            if found is None:
                return None
            routes = found.routes
        return found

    def default_model(self, tier: Tier) -> str:
        """The model of the tier's first route, else the tier's first model.

        Raises:
            RouterFileError: the tier has neither.
        """
        for _, route in self.leaves():
            if route.tier is tier and route.model is not None:
                return route.model
        for name in self.models_of_tier(tier):
            return name
        raise RouterFileError(f"The router file has no model for the tier {tier.value!r}.")

    def fallback_chain(self, model: str, *, route: str | None = None) -> tuple[str, ...]:
        """Models to call in turn, ``model`` first, none twice.

        Args:
            model: the decision's model.
            route: address of the decision's route; None: the first route that calls ``model``.
        """
        chosen = self.route(route) if route else None
        if chosen is None:
            chosen = self.first_route_of(model)
        fallback = chosen.fallback if chosen else ()
        return tuple(dict.fromkeys((model, *fallback)))

    def first_route_of(self, model: str) -> RouteConfig | None:
        """The first route that calls the model."""
        return next((route for _, route in self.leaves() if route.model == model), None)

    def thinking_budget(self, model: str) -> int | None:
        """Budget of the first route that calls the model; None if no route does."""
        route = self.first_route_of(model)
        return route.thinking_budget if route else None

    def retry_of(self, model: str) -> RetryConfig:
        """The model's own retry policy, else the file's."""
        return self.model(model).retry or self.retry

    def breaker_of(self, model: str) -> BreakerConfig:
        """The model's own breaker policy, else the file's."""
        return self.model(model).breaker or self.breaker

    def max_worker_lost(self, model: str) -> int:
        """How many workers a job of a model may lose; the file's own rule for unknown ones."""
        return (self.retry_of(model) if model in self.models else self.retry).max_worker_lost

    def stronger_than(self, model: str) -> str | None:
        """The default model of the next stronger tier that has one; None above the strongest."""
        tiers = list(Tier)  # strongest first
        for tier in reversed(tiers[: tiers.index(self.model(model).tier)]):
            if self._serves(tier):
                return self.default_model(tier)
        return None

    def roomier_than(self, model: str, needed_tokens: int | None) -> str | None:
        """The model with the smallest window that fits; None if no other does.

        Args:
            model: the one that was too small.
            needed_tokens: what the prompt counts; None: more than ``model`` reads.
        """
        least = max(needed_tokens or 0, self.model(model).context_window + 1)
        fits = [name for name, other in self.models.items() if other.context_window >= least]
        return min(fits, key=lambda name: self.models[name].context_window, default=None)

    def catalog(self) -> Catalog:
        """Tiers and prices, as the workers publish them to the producers."""
        tiers = [tier for tier in Tier if self._serves(tier)]
        return Catalog(
            policy_version=self.policy_version,
            tier_models={tier: self.default_model(tier) for tier in tiers},
            models={
                name: ModelCard(
                    tier=model.tier,
                    price=model.price,
                    rpm=model.quota.rpm,
                    tpm=model.quota.tpm,
                    rpd=model.quota.rpd,
                    max_concurrency=model.quota.max_concurrency,
                    timeout_s=model.timeout_s,
                )
                for name, model in self.models.items()
            },
        )

    def _serves(self, tier: Tier) -> bool:
        return bool(self.models_of_tier(tier)) or any(r.tier is tier for _, r in self.leaves())


def _leaves(prefix: str, routes: tuple[RouteConfig, ...]) -> Iterator[tuple[str, RouteConfig]]:
    for route in routes:
        address = f"{prefix}{route.name}"
        if route.routes:
            yield from _leaves(f"{address}{SEPARATOR}", route.routes)
        else:
            yield address, route


def digest(content: bytes, *more: bytes) -> str:
    """The version of a policy with this content, which may lie in several files."""
    if not more:
        return hashlib.sha256(content).hexdigest()[:12]
    parts = (hashlib.sha256(part).digest() for part in (content, *more))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]
