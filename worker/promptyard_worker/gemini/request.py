"""The arguments of one ``client.aio.models.generate_content`` call, built from a job.

What the worker must own, it owns: timeout, retries and transport never come from the
job's ``config`` (a job could otherwise send the API key to another host).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from google.genai import types

from promptyard.job import Decision, Job

#: The Gemini API refuses an ``X-Server-Timeout`` below this with a 400 ("Manually set
#: deadline 5s is too short. Minimum allowed deadline is 10s", livekit/agents#3723).
MIN_SERVER_TIMEOUT_S = 10

#: Keys of ``GenerateContentConfig`` that are the worker's, not the job's.
_OWNED = ("http_options", "should_return_http_response", "continuation_token")

_NO_FUNCTION_CALLS = types.AutomaticFunctionCallingConfig(disable=True)


class _Config(types.GenerateContentConfig):
    """The SDK's config with a fast ``in``.

    The SDK's converter asks ``"temperature" in config`` for each of some 60 names before
    it uses ``getattr``. On a pydantic model without ``__contains__`` that walks all the
    fields and is always False, for a quarter of the CPU of a whole call. Saying False at
    once changes nothing else; a test compares the bodies on the wire.
    """

    def __contains__(self, item: object) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Request:
    """One call, ready to send."""

    model: str
    contents: str | list[types.Content]
    config: types.GenerateContentConfig
    #: Whether a response schema was asked, so that the text must be JSON.
    expects_json: bool


def build_request(job: Job, decision: Decision, *, model: str, timeout_s: float) -> Request:
    """Build the call of a job on a model.

    Raises:
        ValueError: the job's contents or config are no valid Gemini request (pydantic's
            ``ValidationError`` is one); ``classify_exception`` makes it ``invalid_request``.
    """
    config = _job_config(job)
    # A budget is chosen for one model: 0 on a model that always thinks is refused.
    budget = decision.thinking_budget if model == decision.model else None
    update: dict[str, object] = {
        "automatic_function_calling": _NO_FUNCTION_CALLS,
        # One generate is one HTTP call: continuations would be calls that nobody counts.
        "automatic_continuation": False,
        "should_return_http_response": True,
        "http_options": _http_options(timeout_s),
        "thinking_config": _thinking(config.thinking_config, budget),
    }
    if job.system_instruction is not None:
        update["system_instruction"] = job.system_instruction
    if job.response_schema is not None:
        update["response_schema"] = None
        update["response_json_schema"] = job.response_schema
        update["response_mime_type"] = "application/json"
    config = config.model_copy(update=update)
    return Request(
        model=model,
        contents=_contents(job),
        config=config,
        expects_json=config.response_json_schema is not None or config.response_schema is not None,
    )


def _job_config(job: Job) -> _Config:
    """The job's own config, checked by the SDK's model."""
    config = _Config.model_validate(job.config)
    for name in _OWNED:
        if getattr(config, name) is not None:
            raise ValueError(f"config.{name} belongs to the worker: remove it from the job")
    return config


def _contents(job: Job) -> str | list[types.Content]:
    """The prompt or the turns in the SDK's types."""
    if isinstance(job.contents, str):
        return job.contents
    # By JSON, not by dict: only there does the SDK take inline data as base64. A dict's
    # text would be taken as raw bytes and encoded a second time.
    return [
        types.Content.model_validate_json(turn.model_dump_json(by_alias=True, exclude_none=True))
        for turn in job.contents
    ]


def _thinking(
    own: types.ThinkingConfig | None, budget_tokens: int | None
) -> types.ThinkingConfig | None:
    """The job's thinking config, completed by the decision's budget where it has none."""
    if budget_tokens is None:
        return own
    if own is None:
        return _thinking_config(budget_tokens)
    if own.thinking_budget is not None or own.thinking_level is not None:
        return own
    return own.model_copy(update={"thinking_budget": budget_tokens})


@lru_cache(maxsize=64)
def _thinking_config(budget_tokens: int) -> types.ThinkingConfig:
    return types.ThinkingConfig(thinking_budget=budget_tokens)


@lru_cache(maxsize=64)
def _http_options(timeout_s: float) -> types.HttpOptions:
    """The timeout on our side, and the deadline that the server is told."""
    server_timeout_s = max(MIN_SERVER_TIMEOUT_S, math.ceil(timeout_s))
    return types.HttpOptions(
        timeout=max(1, round(timeout_s * 1000)),
        headers={"X-Server-Timeout": str(server_timeout_s)},
    )
