"""Reads a router file of semantic-router 0.x as one of ours.

Such a file names an encoder and routes, each with the LLM that answers; it knows neither
tiers nor prices, so these are derived here, and what was decided is said in ``remarks``.
What a 0.x file may hold beside: ``models`` as in our file, for models whose price is not
known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from promptyard.catalog import Price
from promptyard.job import Usage
from promptyard.names import Tier
from promptyard_worker.routing.config import SEPARATOR
from promptyard_worker.routing.execution import ModelConfig
from promptyard_worker.routing.problems import Problem, did_you_mean, problems_of
from promptyard_worker.routing.schema import KeyPath, keys_at
from promptyard_worker.routing.stages import Name

#: 0.x's ``encoder_type`` and our ``encoder.type``.
ENCODERS: Final = {
    "google": "gemini",
    "fastembed": "fastembed",
    "openai": "OpenAIEncoder",
    "azure": "AzureOpenAIEncoder",
    "cohere": "CohereEncoder",
    "mistral": "MistralEncoder",
    "huggingface": "HuggingFaceEncoder",
    "bedrock": "BedrockEncoder",
    "litellm": "LiteLLMEncoder",
    "voyage": "VoyageEncoder",
    "jina": "JinaEncoder",
    "jina_ai": "JinaEncoder",
    "nim": "NimEncoder",
    "nvidia_nim": "NimEncoder",
    "ollama": "OllamaEncoder",
    "local": "LocalEncoder",
    "vit": "VitEncoder",
    "clip": "CLIPEncoder",
}
_SPARSE: Final = ("bm25", "tfidf", "aurelio")
#: Classes of ``llm`` that stand for what Promptyard does itself.
_OWN_CLASSES: Final = (None, "GoogleLLM")
#: Words of a name that tell the tier; the first that is there wins.
_TIER_WORDS: Final = (("lite", Tier.LITE), ("pro", Tier.PRO), ("flash", Tier.FLASH))
#: What a prompt usually takes; only to tell the cheapest tier.
_USUAL: Final = Usage(prompt_tokens=1000, output_tokens=500)


class _Loose(BaseModel):
    """0.x ignored keys that it did not know."""

    model_config = ConfigDict(frozen=True, extra="allow")


class LegacyLlm(_Loose):
    """What answers the prompts of a route."""

    module: str | None = None
    class_: str | None = Field(default=None, alias="class")
    model: Name | None = None


class LegacyRoute(_Loose):
    """A route of 0.x."""

    name: Name
    utterances: tuple[Name, ...]
    description: str | None = None
    score_threshold: float | None = Field(default=None, ge=-1, le=1)
    llm: LegacyLlm | None = None
    metadata: dict[str, JsonValue] | None = None
    function_schemas: JsonValue = None

    @property
    def threshold(self) -> float | None:
        """0.x took 0.0 and null alike as no bar."""
        return self.score_threshold or None


class LegacyFile(_Loose):
    """A file that ``RouterConfig.to_file`` of semantic-router 0.x wrote."""

    encoder_type: str
    encoder_name: Name | None = None
    routes: tuple[LegacyRoute, ...]
    #: Ours: what is to be known of models that are not known here.
    models: dict[Name, ModelConfig] = {}


@dataclass(frozen=True)
class Translation:
    """A 0.x file, and the same policy in our shape."""

    legacy: LegacyFile
    #: The content of our file.
    data: dict[str, Any]
    problems: list[Problem]
    #: What was decided or left out on the way.
    remarks: list[Problem]
    #: Where a key of ``data`` stands in the 0.x file.
    original: Callable[[KeyPath], KeyPath]


def is_legacy(data: Mapping[str, object]) -> bool:
    """Whether the file is of semantic-router 0.x."""
    return "encoder_type" in data and "routes" in data and "version" not in data


def translate(
    data: Mapping[str, object], *, known_models: Mapping[str, ModelConfig]
) -> Translation | list[Problem]:
    """Read a 0.x file; what makes that impossible if its shape is not one.

    Args:
        data: the file's content.
        known_models: models whose tier, price and limits are known.
    """
    try:
        legacy = LegacyFile.model_validate(data)
    except ValidationError as error:
        return problems_of(error, LegacyFile)
    return _Translator(legacy, {**known_models, **legacy.models}).translation()


@dataclass
class _Translator:
    """One translation."""

    legacy: LegacyFile
    known: Mapping[str, ModelConfig]
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)
    #: Models whose missing price is on the list of problems.
    unpriced: set[str] = field(default_factory=set)

    def translation(self) -> Translation:
        """All of it."""
        self.remarks += _unused(self.legacy)
        encoder = self._encoder()
        models = [self._model(i, route) for i, route in enumerate(self.legacy.routes)]
        tiers = [
            self._tier(i, route, model)
            for i, (route, model) in enumerate(zip(self.legacy.routes, models, strict=True))
        ]
        data = {
            "version": 1,
            "encoder": encoder,
            "default": self._default(models, tiers),
            "models": {
                **dict(map(self._facts, models, tiers)),
                **{name: _dumped(model) for name, model in self.legacy.models.items()},
            },
            "routes": [
                self._route(route, tier, models[i:])
                for i, (route, tier) in enumerate(zip(self.legacy.routes, tiers, strict=True))
            ],
        }
        return Translation(self.legacy, data, self.problems, self.remarks, self._original)

    def _encoder(self) -> dict[str, str]:
        kind = self.legacy.encoder_type
        if kind in _SPARSE:
            what = f"{kind!r} counts words; the encoder of a route must give dense vectors."
            remedy = "Name another; `semantic: {sparse: bm25}` of our own format adds words."
            self.problems.append(Problem(("encoder_type",), what, remedy))
        elif kind not in ENCODERS:
            what = f"unknown encoder {kind!r}."
            self.problems.append(Problem(("encoder_type",), what, did_you_mean(kind, ENCODERS)))
        if kind not in ENCODERS:
            return {"type": "static"}
        name = {"name": self.legacy.encoder_name} if self.legacy.encoder_name else {}
        return {"type": ENCODERS[kind], **name}

    def _model(self, i: int, route: LegacyRoute) -> str:
        """``llm.model``, else the route's name."""
        named = route.llm.model if route.llm else None
        model = (named or route.name).removeprefix("models/")
        if model in self.known:
            return model
        if named is None:
            what = f"names no model, and {route.name!r} is none that is known here."
            remedy = "Write `llm: {model: gemini-2.5-flash}`, or the model you want."
            self.problems.append(Problem(("routes", i, "llm"), what, remedy))
        elif model not in self.unpriced:
            self.unpriced.add(model)
            known = ", ".join(self.known)
            what = f"there is no price for {model!r} here; there are prices for {known}."
            tier = _tier_in(model) or _tier_in(route.name) or Tier.FLASH
            remedy = (
                f"Name one of these, or add `models: {{{model}: {{tier: {tier}, price: "
                "{input: 0.30, output: 2.50}, context_window: 1048576, timeout_s: 120}}` with "
                "its own figures (USD per million tokens) to the file."
            )
            self.problems.append(Problem(("routes", i, "llm", "model"), what, remedy))
        return model

    def _tier(self, i: int, route: LegacyRoute, model: str) -> Tier:
        """By the model, if it is known; by its name; by the route's."""
        if model in self.known:
            return self.known[model].tier
        tier = _tier_in(model) or _tier_in(route.name)
        if tier is None and route.llm and route.llm.model:
            what = f"neither {model!r} nor {route.name!r} tells the tier."
            remedy = "Put pro, flash or lite into the route's name, or add the model to `models`."
            self.problems.append(Problem(("routes", i, "name"), what, remedy))
        return tier or Tier.FLASH

    def _default(self, models: list[str], tiers: list[Tier]) -> str:
        """Flash, if a route has it, else the cheapest tier."""
        if not tiers:
            return Tier.FLASH.value
        priced = [(self._cost(model), i) for i, model in enumerate(models) if model in self.known]
        cheapest = tiers[min(priced)[1]] if priced else tiers[-1]
        default = Tier.FLASH if Tier.FLASH in tiers else cheapest
        what = f"the file names no default tier; prompts that no route takes go to {default.value}."
        remedy = "`promptyard router migrate` writes a file in which you can choose."
        self.remarks.append(Problem((), what, remedy))
        return default.value

    def _cost(self, model: str) -> float:
        return self.known[model].price.cost_usd(_USUAL)

    def _facts(self, name: str, tier: Tier) -> tuple[str, dict[str, Any]]:
        """A model whose price is missing gets a stand-in: its problem is on the list already."""
        price = Price(input=1, output=1)
        stand_in = ModelConfig(tier=tier, price=price, context_window=1_000_000, timeout_s=60)
        return name, _dumped(self.known.get(name, stand_in))

    def _route(self, route: LegacyRoute, tier: Tier, models: list[str]) -> dict[str, Any]:
        """A route of ours; ``models`` are its own and those of the routes after it."""
        own, *later = dict.fromkeys(models)
        return {
            "name": route.name.replace(SEPARATOR, "-"),
            "tier": tier.value,
            "model": own,
            "description": route.description or "",
            **({} if route.threshold is None else {"threshold": route.threshold}),
            "fallback": later,
            "utterances": list(route.utterances),
        }

    def _original(self, path: KeyPath) -> KeyPath:
        match path:
            case ("encoder", "name", *_):
                return ("encoder_name",)
            case ("encoder", *_):
                return ("encoder_type",)
            case ("routes", int(i), "threshold"):
                return ("routes", i, "score_threshold")
            case ("routes", int(i), "tier" | "model" | "fallback", *_):
                llm = self.legacy.routes[i].llm
                return ("routes", i, "llm", "model") if llm and llm.model else ("routes", i, "name")
            case _:
                return path


def _dumped(model: ModelConfig) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)


def _tier_in(name: str) -> Tier | None:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((tier for word, tier in _TIER_WORDS if word in words), None)


def _unused(legacy: LegacyFile) -> Iterator[Problem]:
    """What has no counterpart here."""
    yield from _unknown_keys(legacy, ())
    for i, route in enumerate(legacy.routes):
        yield from _unknown_keys(route, ("routes", i))
        if route.function_schemas:
            what = "function schemas are not used: routing only chooses the model."
            remedy = "Send tools with the job, or remove the key."
            yield Problem(("routes", i, "function_schemas"), what, remedy)
        if SEPARATOR in route.name:
            what = f"{SEPARATOR!r} stands between sub-routes here; it is read as '-'."
            yield Problem(("routes", i, "name"), what)
        if route.llm is not None and route.llm.class_ not in _OWN_CLASSES:
            what = f"{route.llm.class_!r} is not used: Promptyard calls the model by google-genai."
            yield Problem(("routes", i, "llm", "class"), what, "Nothing is to be done.")


def _unknown_keys(part: BaseModel, path: KeyPath) -> Iterator[Problem]:
    for key in part.model_extra or ():
        valid = did_you_mean(key, keys_at(path, LegacyFile))
        yield Problem((*path, key), "unknown key; it is not used.", valid)
