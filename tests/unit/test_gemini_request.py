"""build_request: what a job becomes."""

from __future__ import annotations

import pytest
from google.genai import types
from pydantic import JsonValue, ValidationError

from promptyard.job import Decision, Job
from promptyard.names import Tier
from promptyard_worker.gemini.request import Request, build_request

MODEL = "gemini-2.5-flash"


def build(
    job: Job, *, budget: int | None = 0, model: str = MODEL, timeout_s: float = 60
) -> Request:
    """The request of a job whose decision names ``MODEL``."""
    decision = Decision(
        stage="default", tier=Tier.FLASH, model=MODEL, thinking_budget=budget, policy_version="v"
    )
    return build_request(job, decision, model=model, timeout_s=timeout_s)


def test_the_worker_owns_timeout_and_calls() -> None:
    """One HTTP call, no functions run, our timeout, the raw body."""
    config = build(Job(contents="x"), timeout_s=2.5).config
    assert config.http_options is not None
    assert config.http_options.timeout == 2500
    assert config.http_options.headers == {"X-Server-Timeout": "10"}
    assert config.should_return_http_response is True
    assert config.automatic_continuation is False
    assert config.automatic_function_calling is not None
    assert config.automatic_function_calling.disable is True


@pytest.mark.parametrize(
    "config",
    [
        {"http_options": {"base_url": "http://elsewhere"}},
        {"httpOptions": {"retryOptions": {"attempts": 9}}},
        {"should_return_http_response": False},
    ],
)
def test_what_the_worker_owns_is_refused_in_a_job(config: dict[str, JsonValue]) -> None:
    """Snake or camel case, with the key named."""
    with pytest.raises(ValueError, match="belongs to the worker"):
        build(Job(contents="x", config=config))


def test_an_unknown_config_key_is_refused() -> None:
    """A typing error is no silent default."""
    with pytest.raises(ValidationError, match="temprature"):
        build(Job(contents="x", config={"temprature": 1}))


def test_the_decisions_budget_applies_to_its_model_only() -> None:
    """A fallback model may not know the budget: it gets its own default."""
    own = build(Job(contents="x"), budget=0).config.thinking_config
    assert own is not None
    assert own.thinking_budget == 0
    assert build(Job(contents="x"), budget=0, model="gemini-2.5-pro").config.thinking_config is None
    assert build(Job(contents="x"), budget=None).config.thinking_config is None


def test_the_jobs_own_budget_wins() -> None:
    """And the decision's completes a thinking config without one."""
    job = Job(contents="x", config={"thinkingConfig": {"thinkingBudget": 512}})
    chosen = build(job, budget=0).config.thinking_config
    assert chosen is not None
    assert chosen.thinking_budget == 512
    job = Job(contents="x", config={"thinking_config": {"include_thoughts": True}})
    chosen = build(job, budget=-1).config.thinking_config
    assert chosen == types.ThinkingConfig(include_thoughts=True, thinking_budget=-1)


def test_config_and_system_instruction_pass_through() -> None:
    """The job's config is the SDK's; the job's own instruction comes first."""
    config: dict[str, JsonValue] = {"temperature": 0.2, "candidateCount": 2}
    built = build(Job(contents="x", system_instruction="Be brief.", config=config)).config
    assert built.temperature == 0.2
    assert built.candidate_count == 2
    assert built.system_instruction == "Be brief."


def test_a_schema_asks_for_json() -> None:
    """``response_schema`` replaces what the config says about it."""
    schema: dict[str, JsonValue] = {"type": "object"}
    request = build(Job(contents="x", response_schema=schema))
    assert request.expects_json
    assert request.config.response_json_schema == schema
    assert request.config.response_mime_type == "application/json"
    assert not build(Job(contents="x")).expects_json
    job = Job(contents="x", config={"responseJsonSchema": {"type": "array"}})
    assert build(job).expects_json


def test_turns_become_the_sdks_contents() -> None:
    """Roles and files are kept; a part that the SDK does not know is refused."""
    turns = [
        {"role": "user", "parts": [{"fileData": {"fileUri": "gs://b/f", "mimeType": "a/b"}}]},
        {"role": "model", "parts": [{"text": "seen"}]},
    ]
    contents = build(Job.model_validate({"contents": turns})).contents
    assert isinstance(contents, list)
    assert [turn.role for turn in contents] == ["user", "model"]
    bad = Job.model_validate({"contents": [{"parts": [{"text": "x", "colour": "red"}]}]})
    with pytest.raises(ValidationError, match="colour"):
        build(bad)


def test_broken_base64_is_refused() -> None:
    """Before any call."""
    part = {"inlineData": {"mimeType": "image/png", "data": "%%%"}}
    with pytest.raises(ValidationError, match="data"):
        build(Job.model_validate({"contents": [{"parts": [part]}]}))
