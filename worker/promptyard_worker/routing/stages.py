"""The schema of what decides in router.yaml: encoder, rules, semantic, learned, judge.

A stage answers what the stages before it left open (``RouterConfig.stage_order``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

import promptyard_worker
from promptyard.names import Tier

Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

#: Of the fitted router that comes with Promptyard.
FITTED_NAME: Final = "router.fit.npz"

StageName = Literal["rules", "semantic", "learned", "judge"]

#: What a prompt can hold beside plain text.
Modality = Literal["image", "audio", "video", "file", "code"]


def packaged_fitted_file() -> Path:
    """The fitted router that comes with Promptyard: in the wheel, or in the source tree."""
    package = Path(promptyard_worker.__file__).parent
    inside = package / FITTED_NAME
    return inside if inside.is_file() else package.parent.parent / FITTED_NAME


class Frozen(BaseModel):
    """A value of router.yaml; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


#: Which keys an encoder reads, by its type; any other type reads ``name`` and ``options``.
_ENCODER_KEYS: dict[str, tuple[str, ...]] = {
    "static": ("path",),
    "gemini": ("name", "dimensions", "task_type", "texts_per_minute"),
}


class EncoderConfig(Frozen):
    """What turns a text into a vector."""

    #: ``static``: the embedded table; no download, no key, English. ``gemini``: embed_content
    #: of google-genai. ``fastembed``: ONNX models on this machine. Else a class of
    #: semantic_router.encoders (``CLIPEncoder``), or ``module:Class`` of a dense encoder.
    type: Name = "static"
    #: Model of the encoder; None: the encoder's own default.
    name: Name | None = None
    #: Folder of another model2vec table (``static``); in the file, relative to the file.
    path: Path | None = None
    #: Length of a vector; None: the model's own (``gemini``).
    dimensions: int | None = Field(default=None, gt=0)
    #: What the embeddings are for, in Gemini's words: ``CLASSIFICATION``, ... (``gemini``).
    task_type: Name | None = None
    #: Most texts a minute that are sent to be embedded (``gemini``).
    texts_per_minute: int | None = Field(default=None, gt=0)
    #: Further arguments of the constructor (of classes that are not ours).
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _reads_its_keys(self) -> Self:
        keys = _ENCODER_KEYS.get(self.type, ("name", "options"))
        given = self.model_dump(exclude_defaults=True, exclude={"type", *keys})
        if given:
            raise ValueError(
                f"the encoder {self.type!r} does not read {next(iter(given))!r}: remove it; "
                f"it reads {', '.join(keys)}"
            )
        return self


class TokenRange(Frozen):
    """A range of prompt lengths, in estimated tokens, both ends included."""

    min: int = Field(default=0, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError("max is smaller than min: swap them")
        return self


class When(Frozen):
    """What a rule asks of a prompt; all that is given must hold."""

    #: Any of these words or phrases is in the text or the system instruction: whole words,
    #: whatever their case; where a script sets no spaces, anywhere.
    keywords: tuple[Name, ...] = ()
    #: Found anywhere in the text or the system instruction; RE2's syntax, whose time is linear
    #: in the prompt. ``^`` and ``$`` are the ends of either, blanks around it aside.
    regex: Annotated[str, StringConstraints(min_length=1)] | None = None
    tokens: TokenRange | None = None
    #: The text is in one of these languages (ISO 639-1); a text without any counts by the
    #: instruction's.
    language: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")], ...] = ()
    #: It holds any of these.
    has: tuple[Modality, ...] = ()
    #: Whether it has any text at all, that of the instruction and the turns before included.
    text: bool | None = None
    #: The job's metadata has all of these, equal as JSON.
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    #: Whether the job asks for a ``response_schema``.
    response_schema: bool | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("asks nothing, so it would take every prompt: give a condition")
        return self


class RuleConfig(Frozen):
    """A prompt like this goes there; the first rule that matches wins."""

    name: Name
    when: When
    tier: Tier | None = None
    #: A route; a sub-route is written ``parent/child``.
    route: Name | None = None
    model: Name | None = None
    #: Overrides the route's thinking budget.
    thinking_budget: int | None = Field(default=None, ge=-1)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if sum(target is not None for target in (self.tier, self.route, self.model)) != 1:
            raise ValueError("name exactly one of tier, route and model")
        return self


class Calibration(Frozen):
    """A fitted map from score to probability, as semantic-router's ``Calibrator`` keeps it."""

    method: Literal["platt", "isotonic"]
    params: dict[str, tuple[float, ...]]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = {"platt": {"a", "b"}, "isotonic": {"x", "y"}}[self.method]
        if set(self.params) != wanted:
            raise ValueError(f"{self.method} needs the params {', '.join(sorted(wanted))}")
        if len({len(values) for values in self.params.values()}) != 1:
            raise ValueError("the params differ in length")
        return self


class SemanticConfig(Frozen):
    """How utterances score a route, and when that is sure enough."""

    #: Nearest utterances of each route that count.
    top_k: int = Field(default=5, ge=1)
    #: How their similarities become the route's score.
    aggregation: Literal["mean", "max"] = "mean"
    #: Least score (probability, if calibrated) of routes without a threshold of their own.
    threshold: float | None = Field(default=None, ge=-1, le=1)
    #: Least lead of the best route over the second for the stage to be sure.
    margin: float = Field(default=0, ge=0, le=2)
    #: Turns scores into probabilities, to which thresholds and margin then apply.
    calibration: Calibration | None = None
    #: Adds exact words to meaning (hybrid search).
    sparse: Literal["bm25"] | None = None
    #: Weight of meaning beside words, 0 to 1.
    alpha: float = Field(default=0.7, ge=0, le=1)


class LearnedConfig(Frozen):
    """Which fitted router decides, and how much quality is asked of it."""

    #: What ``promptyard fit`` wrote; in the file, relative to the file. Without it: the one
    #: that comes with Promptyard.
    file: Path = Field(default_factory=packaged_fitted_file)
    #: Part of the dearest arm's quality to keep, 0 to 1; cost follows.
    quality: float | None = Field(default=None, gt=0, le=1)
    #: US dollars that 1,000 prompts may cost; quality follows.
    max_cost_per_1k: float | None = Field(default=None, gt=0)
    #: Least probability of its choice for the stage to be sure.
    threshold: float = Field(default=0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_knob(self) -> Self:
        if self.quality is not None and self.max_cost_per_1k is not None:
            raise ValueError("quality and max_cost_per_1k are two ends of one knob: give one")
        return self


class JudgeConfig(Frozen):
    """An LLM that is asked about what the stages before were not sure of."""

    model: Name = "gemini-2.5-flash-lite"
    #: The question; None: ours.
    instructions: Name | None = None
    #: Least confidence, 0 to 1, at which its answer decides.
    threshold: float = Field(default=0.5, ge=0, le=1)
    #: Most prompts it may see, as a share of all that are routed.
    max_share: float = Field(default=0.2, gt=0, le=1)
    #: Most US dollars a day, all workers together.
    max_cost_usd_per_day: float | None = Field(default=None, gt=0)
    #: Most calls a minute, all workers together.
    calls_per_minute: int = Field(default=60, gt=0)
    prompts_per_call: int = Field(default=16, ge=1, le=64)
    #: Characters of a prompt that the judge reads, from both ends.
    excerpt_chars: int = Field(default=1500, ge=100)
    #: How long a chunk waits for it.
    timeout_s: float = Field(default=10, gt=0)
