"""parse_answer: what each kind of Gemini body means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai.errors import UnknownApiResponseError

from promptyard.job import ErrorType, Usage
from promptyard_worker.gemini.answer import REFUSALS, Answer, Outcome, parse_answer


def body(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> str:
    """A response body with one candidate."""
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    return json.dumps({"candidates": [candidate], **more})


def parse(raw: str, *, expects_json: bool = False) -> Answer:
    """``parse_answer`` with no schema asked."""
    return parse_answer(raw, expects_json=expects_json)


def test_text_parts_are_joined_without_the_thoughts() -> None:
    """Thought summaries are not the answer."""
    answer = parse(body({"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}))
    assert answer.text == "ab"
    assert answer.outcome is Outcome.TEXT
    assert answer.error is None


def test_usage_counts_every_kind_of_token() -> None:
    """Prompt (with what tools added), output, thinking, cached."""
    usage = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 4,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 5,
        "totalTokenCount": 64,
    }
    answer = parse(body({"text": "x"}, usageMetadata=usage, modelVersion="m-1"))
    assert answer.usage == Usage(
        prompt_tokens=14, output_tokens=20, thinking_tokens=30, cached_tokens=5
    )
    assert answer.model_version == "m-1"


def test_a_blocked_prompt_names_reason_and_category() -> None:
    """promptFeedback.blockReason, and no candidate at all."""
    feedback = {
        "blockReason": "SAFETY",
        "safetyRatings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"},
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "blocked": True},
        ],
    }
    answer = parse(json.dumps({"promptFeedback": feedback}))
    assert answer.outcome is Outcome.BLOCKED
    assert answer.error is not None
    assert answer.error.type is ErrorType.SAFETY
    assert "SAFETY (HARM_CATEGORY_DANGEROUS_CONTENT)" in answer.error.message


@pytest.mark.parametrize("reason", sorted(REFUSALS))
def test_a_refusal_without_text_is_blocked(reason: str) -> None:
    """Every refusing finish reason."""
    answer = parse(json.dumps({"candidates": [{"finishReason": reason}]}))
    assert answer.outcome is Outcome.BLOCKED
    assert answer.finish_reason == reason


def test_a_refusal_with_text_is_an_answer() -> None:
    """What came before the stop is kept; the finish reason tells."""
    answer = parse(body({"text": "partly"}, finish="RECITATION"))
    assert answer.outcome is Outcome.TEXT
    assert answer.finish_reason == "RECITATION"


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({}),
        json.dumps({"candidates": []}),
        json.dumps({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]}),
        body({"text": ""}),
        body({"text": " \n"}),
        body({"text": "only thoughts", "thought": True}),
        json.dumps({"candidates": [None], "usageMetadata": None}),
        json.dumps({"candidates": {"x": 1}, "promptFeedback": []}),
    ],
)
def test_no_text_is_an_empty_response(raw: str) -> None:
    """Nothing usable, however the body says it; strange shapes do not crash."""
    answer = parse(raw)
    assert answer.outcome is Outcome.EMPTY
    assert answer.text is None
    assert answer.error is not None
    assert answer.error.type is ErrorType.EMPTY_RESPONSE


def test_thinking_that_used_up_the_limit_says_what_to_do() -> None:
    """MAX_TOKENS without text names the remedy, and is still paid."""
    raw = json.dumps(
        {
            "candidates": [{"finishReason": "MAX_TOKENS"}],
            "usageMetadata": {"promptTokenCount": 3, "thoughtsTokenCount": 100},
        }
    )
    answer = parse(raw)
    assert answer.error is not None
    assert "max_output_tokens" in answer.error.message
    assert answer.usage.thinking_tokens == 100


def test_a_function_call_is_no_text() -> None:
    """The worker runs no functions."""
    answer = parse(body({"functionCall": {"name": "f", "args": {}}}))
    assert answer.error is not None
    assert "function call" in answer.error.message


@pytest.mark.parametrize(
    ("text", "parsed"), [('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}), ("3", 3), ("null", None)]
)
def test_json_is_parsed_where_a_schema_was_asked(text: str, parsed: object) -> None:
    """Any JSON value; the text stays beside it."""
    answer = parse(body({"text": text}), expects_json=True)
    assert answer.outcome is Outcome.TEXT
    assert answer.parsed == parsed
    assert answer.text == text


@pytest.mark.parametrize("text", ["Sure! Here it is", '{"a": ', '{"a": NaN}', "```json\n{}\n```"])
def test_text_that_is_no_json_is_a_schema_mismatch(text: str) -> None:
    """Only JSON is JSON, and the message does not repeat the text."""
    answer = parse(body({"text": text}), expects_json=True)
    assert answer.outcome is Outcome.SCHEMA_MISMATCH
    assert answer.text == text
    assert answer.error is not None
    assert answer.error.type is ErrorType.SCHEMA_MISMATCH
    assert text not in answer.error.message


@pytest.mark.parametrize("raw", ["", "<html>", "[]", '{"candidates": ['])
def test_a_body_that_is_no_object_raises(raw: str) -> None:
    """The SDK's own error, without the body."""
    with pytest.raises(UnknownApiResponseError, match="no JSON object") as caught:
        parse(raw)
    assert not raw or raw not in str(caught.value)
