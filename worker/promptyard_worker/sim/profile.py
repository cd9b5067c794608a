"""What is known of each model: latency, thinking, limits, methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

#: Models the stand-in serves unless told otherwise. Names as google-genai 3.4 lists them.
DEFAULT_MODELS: Final = (
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-3-pro-preview",
    "gemini-3-flash-preview",
    "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite",
    "gemini-3.5-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.6-flash",
    "gemini-3.7-flash",
    "gemini-3.8-flash",
    "gemini-pro-latest",
    "gemini-flash-latest",
    "gemini-flash-lite-latest",
    "gemini-embedding-001",
    "gemini-embedding-2",
)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model thinks (https://ai.google.dev/gemini-api/docs/thinking).

    Attributes:
        default_tokens: median of dynamic thinking on a short prompt.
        on_by_default: whether it thinks when the request says nothing.
        can_stop: whether a budget of 0 is allowed.
        least: smallest positive budget, in tokens.
        most: largest budget, in tokens.
        by_level: Gemini 3: takes ``thinkingLevel``.
    """

    default_tokens: int
    on_by_default: bool
    can_stop: bool
    least: int
    most: int
    by_level: bool


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model.

    ``base_s``, ``tokens_per_s`` and ``sigma`` make the latency: ``(base_s + (thoughts +
    output) / tokens_per_s)`` times a lognormal of median 1. The medians lie near published
    measurements of 2025-26 (for 160 output tokens: pro 12 s, flash 6 s, flash-lite 1.5 s);
    they are for rehearsal, not a forecast.
    """

    name: str
    embeds: bool
    base_s: float
    tokens_per_s: float
    sigma: float
    thinking: Thinking
    input_token_limit: int
    output_token_limit: int

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of the model as the list of models spells them."""
        if self.embeds:
            return ("embedContent", "batchEmbedContents", "countTokens")
        return ("generateContent", "streamGenerateContent", "countTokens")


_CONTEXT: Final = 1_048_576
_OUTPUT: Final = 65_536
_NO_THINKING: Final = Thinking(0, False, True, 0, 0, False)

Family = Literal["pro", "flash", "lite", "embedding"]


def family_of(name: str) -> Family:
    """The family a model's name tells; a name that tells nothing counts as pro."""
    if "embedding" in name:
        return "embedding"
    if "lite" in name:
        return "lite"
    return "flash" if "flash" in name else "pro"


def profile_of(name: str) -> ModelProfile:
    """The profile of a model, by its family and generation."""
    by_level = not name.startswith("gemini-2")
    match family_of(name):
        case "embedding":
            limit = 8_192 if name.endswith("-2") else 2_048
            return ModelProfile(name, True, 0.25, 50_000.0, 0.25, _NO_THINKING, limit, 1)
        case "lite":
            thinking = Thinking(250, False, True, 512, 24_576, by_level)
            return ModelProfile(name, False, 0.55, 180.0, 0.35, thinking, _CONTEXT, _OUTPUT)
        case "flash":
            thinking = Thinking(550, True, not by_level, 1, 24_576, by_level)
            return ModelProfile(name, False, 0.65, 140.0, 0.4, thinking, _CONTEXT, _OUTPUT)
        case "pro":
            thinking = Thinking(900, True, False, 128, 32_768, by_level)
            return ModelProfile(name, False, 1.6, 100.0, 0.45, thinking, _CONTEXT, _OUTPUT)
