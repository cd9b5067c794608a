"""``generationConfig``, checked as the real API checks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.profile import ModelProfile, Thinking
from promptyard_worker.sim.refusal import JsonObject, invalid

#: How much more or less than the median a ``thinkingLevel`` thinks.
_LEVELS: Final = {"minimal": 0.0, "low": 0.3, "medium": 0.7, "high": 1.5}


@dataclass(frozen=True, slots=True)
class Generation:
    """What a request wants of its answer.

    Attributes:
        max_tokens: most output tokens, thoughts included; None for the model's limit.
        budget: ``thinkingBudget``: None if absent, -1 for dynamic, 0 for none.
        level: ``thinkingLevel`` in lower case.
        shows_thoughts: ``includeThoughts``.
        schema: the schema the answer must meet, in either dialect.
        mime_type: ``responseMimeType``.
        stops: ``stopSequences``.
    """

    max_tokens: int | None = None
    budget: int | None = None
    level: str | None = None
    shows_thoughts: bool = False
    schema: JsonObject | None = None
    mime_type: str = "text/plain"
    stops: tuple[str, ...] = ()


DEFAULT_GENERATION: Final = Generation()


def read_generation(body: JsonObject) -> Generation:
    """The generation config of a request.

    Raises:
        Refusal: 400 for a value the real API refuses.
    """
    config = _field(body, "generationConfig", "generation_config")
    if not config:
        return DEFAULT_GENERATION
    if not isinstance(config, dict):
        raise invalid("Invalid value at 'generation_config' (GenerationConfig).")
    _check_sampling(config)
    thinking = _field(config, "thinkingConfig", "thinking_config") or {}
    level = _field(thinking, "thinkingLevel", "thinking_level")
    schema = (
        _field(config, "responseJsonSchema", "response_json_schema")
        or _field(config, "_responseJsonSchema", "_response_json_schema")
        or _field(config, "responseSchema", "response_schema")
    )
    return Generation(
        max_tokens=_whole(config, "maxOutputTokens", "max_output_tokens"),
        budget=_whole(thinking, "thinkingBudget", "thinking_budget"),
        level=level.lower() if isinstance(level, str) else None,
        shows_thoughts=bool(_field(thinking, "includeThoughts", "include_thoughts")),
        schema=schema if isinstance(schema, dict) else None,
        mime_type=_field(config, "responseMimeType", "response_mime_type") or "text/plain",
        stops=tuple(_field(config, "stopSequences", "stop_sequences") or ()),
    )


def think(profile: ModelProfile, wanted: Generation, dice: Dice, prompt_tokens: int) -> int:
    """How many tokens the model thinks.

    Raises:
        Refusal: 400 for a budget or level the model does not take.
    """
    thinking = profile.thinking
    if wanted.level not in (None, "thinking_level_unspecified"):
        return _think_by_level(profile, wanted, dice, prompt_tokens)
    budget = wanted.budget
    if budget is None:
        return _dynamic(thinking, dice, prompt_tokens) if thinking.on_by_default else 0
    if budget == -1:
        return _dynamic(thinking, dice, prompt_tokens)
    if budget == 0:
        if not thinking.can_stop:
            raise invalid("Budget 0 is invalid. This model only works in thinking mode.")
        return 0
    if not thinking.least <= budget <= thinking.most:
        raise invalid(
            f"The thinking budget {budget} is invalid. Please choose a value between "
            f"{thinking.least} and {thinking.most}."
        )
    return min(budget, _dynamic(thinking, dice, prompt_tokens))


def _think_by_level(
    profile: ModelProfile, wanted: Generation, dice: Dice, prompt_tokens: int
) -> int:
    thinking = profile.thinking
    if not thinking.by_level or wanted.level not in _LEVELS:
        raise invalid("Thinking level is not supported for this model.")
    if wanted.budget is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if wanted.level == "minimal" and not thinking.can_stop and "flash" not in profile.name:
        raise invalid("Thinking level MINIMAL is not supported for this model.")
    return int(_dynamic(thinking, dice, prompt_tokens) * _LEVELS[wanted.level])


def _dynamic(thinking: Thinking, dice: Dice, prompt_tokens: int) -> int:
    """Half to one and a half times the median, and more for a long prompt."""
    drawn = thinking.default_tokens * (0.5 + dice.uniform()) + prompt_tokens * 0.05
    return min(int(drawn), thinking.most)


def _check_sampling(config: JsonObject) -> None:
    count = _whole(config, "candidateCount", "candidate_count")
    if count is not None and count > 1:
        raise invalid("Multiple candidates is not enabled for this model")
    path = "* GenerateContentRequest.generation_config"
    most = _whole(config, "maxOutputTokens", "max_output_tokens")
    if most is not None and most < 1:
        raise invalid(f"{path}.max_output_tokens: max_output_tokens must be positive.\n")
    temperature = config.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 2:
        raise invalid(f"{path}.temperature: temperature must be in the range [0.0, 2.0].\n")
    top_p = _field(config, "topP", "top_p")
    if isinstance(top_p, int | float) and not 0 <= top_p <= 1:
        raise invalid(f"{path}.top_p: top_p must be in the range [0.0, 1.0].\n")


def _field(message: JsonObject, camel: str, snake: str) -> Any:
    """A field by either of the two spellings proto3 JSON allows."""
    value = message.get(camel)
    return message.get(snake) if value is None else value


def _whole(message: JsonObject, camel: str, snake: str) -> int | None:
    """A whole number, which proto3 JSON also writes as a string."""
    value = _field(message, camel, snake)
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise invalid(f"Invalid value at 'generation_config.{snake}' (TYPE_INT32).") from None
