"""The contract of one prompt: the Job a producer sends, the JobResult it gets back.

All models are frozen and go to JSON and back without loss. Times are timezone-aware
datetimes (ISO 8601 in JSON), durations are seconds, money is US dollars, tokens are
counted as Gemini's ``usageMetadata`` counts them
(https://ai.google.dev/api/generate-content#UsageMetadata).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
)
from pydantic.alias_generators import to_camel

from promptyard.contract import Contract
from promptyard.decision import Decision as Decision
from promptyard.decision import Neighbour as Neighbour
from promptyard.names import Tier

JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:\-]{1,128}$")]


class JobState(StrEnum):
    """Where a job is; DESIGN §4 draws the moves."""

    #: Stored, not yet routed.
    ACCEPTED = "accepted"
    #: Its tier is chosen; it waits in that tier's queue (or for a retry).
    ROUTED = "routed"
    #: A worker holds its lease and calls the model.
    RUNNING = "running"
    #: Ended with an answer.
    SUCCEEDED = "succeeded"
    #: Ended with an error; lies in the dead letters.
    FAILED = "failed"
    #: Ended by a safety refusal of the model.
    BLOCKED = "blocked"
    #: Ended by the producer.
    CANCELLED = "cancelled"
    #: Ended because it had not started before ``expires_in`` had passed.
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state never moves again by itself."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.BLOCKED,
        JobState.CANCELLED,
        JobState.EXPIRED,
    }
)


class ErrorType(StrEnum):
    """The closed list of ``error.type``."""

    #: The input line was not JSON, had no prompt or repeated a ``custom_id``.
    INVALID_INPUT = "invalid_input"
    #: 400: the model refuses the request as it is.
    INVALID_REQUEST = "invalid_request"
    #: 401 or 403: the key is missing, wrong or not allowed.
    UNAUTHENTICATED = "unauthenticated"
    #: 404 or 403 for this model only, or every model of the chain was away for longer than
    #: ``retry.give_up_after_s``.
    MODEL_UNAVAILABLE = "model_unavailable"
    #: 429.
    QUOTA_EXCEEDED = "quota_exceeded"
    #: 500, 502, 503, 504 and other server errors.
    SERVER_ERROR = "server_error"
    #: No answer within the model's ``timeout_s``.
    TIMEOUT = "timeout"
    #: The connection failed or broke.
    CONNECTION = "connection"
    #: The prompt is longer than the model reads, and no other model reads more.
    CONTEXT_TOO_LONG = "context_too_long"
    #: The answer had no text.
    EMPTY_RESPONSE = "empty_response"
    #: The answer does not meet ``response_schema``.
    SCHEMA_MISMATCH = "schema_mismatch"
    #: A safety refusal (state ``blocked``).
    SAFETY = "safety"
    #: Cancelled by the producer (state ``cancelled``).
    CANCELLED = "cancelled"
    #: Not started in time (state ``expired``).
    EXPIRED = "expired"
    #: The worker that held the job died, or was told to stop before the call had ended.
    WORKER_LOST = "worker_lost"
    #: Worker after worker died with the job in its hands (``retry.max_worker_lost``).
    POISON = "poison"
    #: A bug of ours; the message holds the exception.
    INTERNAL = "internal"


class _GeminiContract(BaseModel):
    """A part of a Gemini request; reads snake_case and camelCase, keeps what it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True
    )


class Blob(_GeminiContract):
    """Inline data: base64 text and its MIME type."""

    mime_type: str
    data: str


class FileData(_GeminiContract):
    """A file already uploaded to the Gemini API or in Cloud Storage."""

    file_uri: str
    mime_type: str | None = None


class Part(_GeminiContract):
    """One part of a turn: text, inline data or a file."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None


class Content(_GeminiContract):
    """One turn of a conversation (https://ai.google.dev/api/caching#Content)."""

    role: str = "user"
    parts: tuple[Part, ...] = Field(min_length=1)


def _schema_of(value: object) -> object:
    """A pydantic class stands for its JSON Schema."""
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    return value


class Job(Contract):
    """One prompt and how it shall be processed."""

    #: Ours if not given; two submits with one id are one job.
    id: JobId = Field(default_factory=lambda: str(uuid.uuid4()))
    #: The caller's own name for the job; comes back on the result.
    custom_id: str | None = None
    #: A prompt, or the turns of a conversation in Gemini's shape.
    contents: Annotated[str, StringConstraints(min_length=1)] | tuple[Content, ...]
    system_instruction: str | None = None
    #: Passed through as ``GenerateContentConfig``.
    config: dict[str, JsonValue] = Field(default_factory=dict)
    #: JSON Schema (or, in Python, a pydantic class) that the answer must meet.
    response_schema: Annotated[dict[str, JsonValue] | None, BeforeValidator(_schema_of)] = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    #: Names the tier; the job is not classified.
    tier: Tier | None = None
    #: Names the model; the job is not classified.
    model: str | None = None
    #: 0 to 9; 0 runs first, as in Celery on Redis.
    priority: int = Field(default=5, ge=0, le=9)
    #: The job ends as ``expired`` if no call has started by then.
    expires_in: timedelta | None = Field(default=None, gt=timedelta(0))
    #: Jobs with the same key are submitted once.
    idempotency_key: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    #: The input line the job came from, counted from 1.
    line: int | None = Field(default=None, ge=1)

    @field_validator("contents", mode="after")
    @classmethod
    def _not_empty(cls, value: str | tuple[Content, ...]) -> str | tuple[Content, ...]:
        if not value:
            raise ValueError("contents is empty: give a prompt or at least one turn")
        if isinstance(value, str) and not value.strip():
            raise ValueError("contents is blank: give a prompt")
        return value

    @property
    def text(self) -> str:
        """The text of the last user turn: what routing reads (may be empty)."""
        if isinstance(self.contents, str):
            return self.contents
        turns = [turn for turn in self.contents if turn.role == "user"] or list(self.contents)
        return "\n".join(part.text for part in turns[-1].parts if part.text)


class JobError(Contract):
    """What went wrong, in a form to act on."""

    type: ErrorType
    message: str


class Usage(Contract):
    """Tokens as Gemini counts them."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    #: Part of ``prompt_tokens`` that came from a context cache.
    cached_tokens: int = 0

    @classmethod
    def total(cls, usages: Iterable[Usage]) -> Usage:
        """The sum of several calls'."""
        found = list(usages)
        return cls(**{name: sum(getattr(one, name) for one in found) for name in cls.model_fields})


class Attempt(Contract):
    """One call to a model."""

    model: str
    started: AwareDatetime
    duration_s: float
    #: None for a call whose answer the job could use.
    error: JobError | None = None
    #: What it was billed; an answer without usable text has its price too.
    usage: Usage = Usage()
    cost_usd: float = 0.0


class Timings(Contract):
    """When the job reached each station."""

    accepted: AwareDatetime
    routed: AwareDatetime | None = None
    #: First call.
    started: AwareDatetime | None = None
    finished: AwareDatetime


class JobResult(Contract):
    """How a job ended."""

    id: JobId
    custom_id: str | None = None
    batch_id: str | None = None
    line: int | None = None
    #: One of the final states.
    status: JobState
    text: str | None = None
    #: The answer as JSON, where ``response_schema`` was asked.
    parsed: Any = None
    tier: Tier | None = None
    model: str | None = None
    #: As the server names it; ends in ``-simulated`` when the stand-in answered.
    model_version: str | None = None
    decision: Decision | None = None
    attempts: tuple[Attempt, ...] = ()
    #: Of all its calls together.
    usage: Usage = Usage()
    cost_usd: float = 0.0
    timings: Timings | None = None
    error: JobError | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the job has an answer."""
        return self.status is JobState.SUCCEEDED

    @property
    def call_s(self) -> float:
        """Seconds spent in model calls, failed ones included.

        Calls of a worker that died are left out: nobody saw how long they took.
        """
        return sum(
            attempt.duration_s
            for attempt in self.attempts
            if not (attempt.error and attempt.error.type is ErrorType.WORKER_LOST)
        )
