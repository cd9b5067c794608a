"""What a call is taken to cost before it is made."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from promptyard.job import Job
from promptyard_worker import tokens
from promptyard_worker.quota.estimate import cost_usd, input_tokens
from promptyard_worker.routing import ModelConfig

TEXT = "Which rivers flow through Basel? " * 20


def blob(mime_type: str, size_bytes: int) -> dict[str, Any]:
    """A part with so many bytes of a file in it."""
    data = base64.b64encode(b"x" * size_bytes).decode()
    return {"inlineData": {"mimeType": mime_type, "data": data}}


def estimate(*parts: dict[str, Any], **more: Any) -> int:
    """Input tokens of a job of one turn."""
    return input_tokens(Job.model_validate({"contents": [{"parts": list(parts)}], **more}))


def test_a_text_counts_alike_however_it_is_given() -> None:
    """As a string, as a turn, or cut into turns and parts."""
    whole = input_tokens(Job(contents=TEXT))
    assert whole == tokens.count(TEXT) == len(TEXT) / 4
    assert estimate({"text": TEXT}) == whole
    turns = [{"role": role, "parts": [{"text": TEXT}]} for role in ("user", "model")]
    assert input_tokens(Job.model_validate({"contents": turns})) == 2 * whole


def test_an_empty_prompt_takes_a_token() -> None:
    """Nothing would make no difference to the quota, and no ratio."""
    assert estimate({"text": ""}) == 1


def test_all_that_is_sent_counts() -> None:
    """The system instruction, and the schema of the answer as JSON."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    plain = input_tokens(Job(contents="x"))
    assert input_tokens(Job(contents="x", system_instruction=TEXT)) == plain + tokens.count(TEXT)
    with_schema = input_tokens(Job(contents="x", response_schema=schema))
    assert with_schema == plain + tokens.count(json.dumps(schema))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (blob("image/png", 90_000), 258),
        (blob("audio/mp3", 159_000), 10 * 32),
        (blob("video/mp4", 499_000), 2 * 263),
        (blob("application/pdf", 99_000), 2 * 258),
        ({"fileData": {"fileUri": "gs://bucket/a.png", "mimeType": "image/png"}}, 258),
        ({"fileData": {"fileUri": "files/abc"}}, 258),
    ],
)
def test_media_count_by_googles_rules(part: dict[str, Any], expected: int) -> None:
    """Beside the text of the same turn."""
    assert estimate(part) == expected
    assert estimate({"text": TEXT}, part) == expected + tokens.count(TEXT)


def test_a_part_we_do_not_know_still_counts() -> None:
    """A call of a tool, by its length."""
    call = {"functionCall": {"name": "look_up", "args": {"city": "Basel" * 100}}}
    assert estimate(call) > 125


def test_cost_is_that_of_a_usual_answer() -> None:
    """Input as estimated, output as the model usually has it."""
    model = ModelConfig.model_validate(
        {
            "tier": "lite",
            "price": {"input": 0.1, "output": 0.4},
            "context_window": 1_000_000,
            "timeout_s": 5,
            "typical_output_tokens": 250,
        }
    )
    assert cost_usd(model, 1_000_000) == pytest.approx(0.1 + 250 * 0.4e-6)
