"""The contract: what goes in and out of JSON, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from promptyard.job import (
    FINAL_STATES,
    Attempt,
    Blob,
    Content,
    Decision,
    ErrorType,
    FileData,
    Job,
    JobError,
    JobResult,
    JobState,
    Part,
    Timings,
    Usage,
)
from promptyard.names import Tier

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)


class Label(BaseModel):
    """A schema as a user would write it."""

    label: str
    score: float = 0.0


FULL = Job(
    id="job-1",
    custom_id="mine",
    contents=(
        Content(
            role="user",
            parts=(Part(text="Look:"), Part(inline_data=Blob(mime_type="image/png", data="AA=="))),
        ),
        Content(role="model", parts=(Part(text="I see."),)),
        Content(
            parts=(
                Part(file_data=FileData(file_uri="gs://b/f.pdf", mime_type="application/pdf")),
                Part(text="And this?"),
            )
        ),
    ),
    system_instruction="Be brief.",
    config={"temperature": 0.5, "stop_sequences": ["x"], "nested": {"a": [1, None, True]}},
    response_schema={"type": "object"},
    metadata={"customer": 42, "tags": ["a"]},
    tier=Tier.PRO,
    model="gemini-2.5-pro",
    priority=0,
    expires_in=timedelta(minutes=2, milliseconds=500),
    idempotency_key="order-7",
    line=3,
)

RESULT = JobResult(
    id="job-1",
    custom_id="mine",
    batch_id="b",
    line=3,
    status=JobState.SUCCEEDED,
    text="spam",
    parsed={"label": "spam"},
    tier=Tier.LITE,
    model="m",
    model_version="m-simulated",
    decision=Decision(
        stage="semantic",
        route="lite",
        tier=Tier.LITE,
        model="m",
        scores={"lite": 0.9, "pro": 0.1},
        margin=0.8,
        thinking_budget=0,
        policy_version="abc",
    ),
    attempts=(
        Attempt(
            model="m",
            started=NOW,
            duration_s=0.25,
            error=JobError(type=ErrorType.TIMEOUT, message="slow"),
        ),
        Attempt(model="m", started=NOW, duration_s=0.5),
    ),
    usage=Usage(prompt_tokens=5, output_tokens=1, thinking_tokens=2, cached_tokens=3),
    cost_usd=0.001,
    timings=Timings(accepted=NOW, routed=NOW, started=NOW, finished=NOW),
    metadata={"customer": 42},
)


@pytest.mark.parametrize("exclude_defaults", [False, True])
def test_jobs_and_results_survive_json(exclude_defaults: bool) -> None:
    """What goes out comes back equal, with or without the defaults."""
    for model in (FULL, RESULT, Job(contents="x")):
        text = model.model_dump_json(exclude_defaults=exclude_defaults)
        assert type(model).model_validate_json(text) == model


def test_the_json_is_plain() -> None:
    """Durations are seconds, times ISO 8601 with a zone, states and tiers words."""
    job = json.loads(FULL.model_dump_json())
    assert (job["expires_in"], job["tier"]) == (120.5, "pro")
    result = json.loads(RESULT.model_dump_json())
    assert result["status"] == "succeeded"
    assert result["timings"]["accepted"] == "2026-11-23T12:00:00.123456Z"


def test_parts_are_read_in_both_spellings() -> None:
    """Gemini's camelCase and Python's snake_case give the same job; what is unknown is kept."""
    camel = {
        "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "AA=="}, "videoMetadata": {"fps": 1}},
            {"fileData": {"fileUri": "gs://x"}},
        ]
    }
    snake = {
        "parts": [
            {
                "inline_data": {"mime_type": "image/png", "data": "AA=="},
                "videoMetadata": {"fps": 1},
            },
            {"file_data": {"file_uri": "gs://x"}},
        ]
    }
    one = Job.model_validate({"id": "a", "contents": [camel]})
    assert one == Job.model_validate({"id": "a", "contents": [snake]})
    turn = one.contents[0]
    assert isinstance(turn, Content)
    wire = turn.model_dump(by_alias=True, exclude_none=True)
    assert wire["parts"][0] == camel["parts"][0]
    assert Job.model_validate_json(one.model_dump_json()) == one


def test_a_pydantic_class_is_a_schema() -> None:
    """In Python the class itself; on the wire its JSON Schema."""
    job = Job.model_validate({"contents": "x", "response_schema": Label})
    assert job.response_schema == Label.model_json_schema()
    assert Job.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize(
    "wrong",
    [
        {"contents": ""},
        {"contents": "  \n\t"},
        {"contents": []},
        {"contents": [{"parts": []}]},
        {"contents": None},
        {"contents": "x", "priority": 10},
        {"contents": "x", "priority": -1},
        {"contents": "x", "tier": "gold"},
        {"contents": "x", "expires_in": 0},
        {"contents": "x", "id": "with space"},
        {"contents": "x", "id": ""},
        {"contents": "x", "id": "a" * 129},
        {"contents": "x", "idempotency_key": ""},
        {"contents": "x", "response_schema": "object"},
        {"contents": "x", "line": 0},
        {"contents": "x", "promt": "typo"},
        {},
    ],
)
def test_what_cannot_run_is_refused(wrong: dict[str, Any]) -> None:
    """Where it is written, not where it would be called."""
    with pytest.raises(ValidationError):
        Job.model_validate(wrong)


def test_blank_contents_say_what_to_do() -> None:
    """The message names the remedy."""
    with pytest.raises(ValidationError, match="give a prompt"):
        Job(contents=" ")


def test_the_models_are_frozen() -> None:
    """Nothing of a job, part or result can be set."""
    for model, field in ((FULL, "tier"), (RESULT, "text"), (Part(text="a"), "text")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, field, None)


def test_ids_are_given_once_each() -> None:
    """Two jobs of the same prompt are two jobs."""
    assert Job(contents="x").id != Job(contents="x").id


def test_routing_reads_the_last_user_turn() -> None:
    """Its text parts, joined; the model's turns only where there is no other."""
    assert FULL.text == "And this?"
    assert Job(contents="plain").text == "plain"
    two_parts = Content(parts=(Part(text="a"), Part(text="b")))
    assert Job(contents=(two_parts,)).text == "a\nb"
    ends_with_model = (
        Content(parts=(Part(text="q"),)),
        Content(role="model", parts=(Part(text="a"),)),
    )
    assert Job(contents=ends_with_model).text == "q"
    only_model = (Content(role="model", parts=(Part(text="a"),)),)
    assert Job(contents=only_model).text == "a"
    only_picture = (Content(parts=(Part(inline_data=Blob(mime_type="image/png", data="AA==")),)),)
    assert Job(contents=only_picture).text == ""


def test_final_states_are_the_five() -> None:
    """A job ends in exactly one of them."""
    assert {state.value for state in FINAL_STATES} == {
        "succeeded",
        "failed",
        "blocked",
        "cancelled",
        "expired",
    }
    assert [state.is_final for state in (JobState.ACCEPTED, JobState.ROUTED, JobState.RUNNING)] == [
        False
    ] * 3


def test_a_results_short_answers() -> None:
    """ok and call_s: every attempt's time counts."""
    assert RESULT.ok
    assert RESULT.call_s == 0.75
    assert not JobResult(id="a", status=JobState.BLOCKED).ok
