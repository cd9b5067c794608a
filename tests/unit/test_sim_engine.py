"""The stand-in without HTTP: answers, refusals and counters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptyard_worker.sim.prompt import CACHED_TOKENS, prompt_key
from tests.unit.sim_bench import FLASH, LITE, PRO, Bench, text_of


def test_an_answer_says_that_it_is_simulated() -> None:
    """Text, model version and usage of an ordinary answer."""
    status, body = Bench().ask("The yard is full. The trains wait for a signal at the gate.")
    assert status == 200
    assert text_of(body).startswith("[simulated] The yard is full.")
    assert body["modelVersion"] == "gemini-2.5-flash-lite-simulated"
    assert body["candidates"][0]["finishReason"] == "STOP"
    usage = body["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    assert body["responseId"]


def test_same_prompt_sametext_of() -> None:
    """Answers are deterministic."""
    assert text_of(Bench().ask("One. Two.")[1]) == text_of(Bench(seed=9).ask("One. Two.")[1])


@pytest.mark.parametrize(
    ("model", "thinking", "low", "high"),
    [
        (LITE, None, 0, 0),
        (LITE, {"thinkingBudget": -1}, 1, 2_000),
        (LITE, {"thinkingBudget": 512}, 1, 512),
        (FLASH, None, 1, 2_000),
        (FLASH, {"thinkingBudget": 0}, 0, 0),
        (FLASH, {"thinkingBudget": 20}, 20, 20),
        (PRO, None, 128, 3_000),
        (PRO, {"thinkingBudget": 128}, 128, 128),
        ("gemini-3.8-flash", {"thinkingLevel": "MINIMAL"}, 0, 0),
        ("gemini-3.8-flash", {"thinkingLevel": "high"}, 100, 3_000),
    ],
)
def test_thinking(model: str, thinking: dict[str, Any] | None, low: int, high: int) -> None:
    """A budget of N is at most N; 0 is none; absent is the model's habit."""
    config = {} if thinking is None else {"generationConfig": {"thinkingConfig": thinking}}
    _, body = Bench().ask("Why?", model, **config)
    assert low <= body["usageMetadata"].get("thoughtsTokenCount", 0) <= high


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        (PRO, {"thinkingBudget": 0}),
        (PRO, {"thinkingBudget": 127}),
        (FLASH, {"thinkingBudget": 30_000}),
        (FLASH, {"thinkingLevel": "LOW"}),
        ("gemini-3-pro-preview", {"thinkingLevel": "minimal"}),
        ("gemini-3.8-flash", {"thinkingLevel": "low", "thinkingBudget": 5}),
        (FLASH, {"thinkingBudget": "many"}),
    ],
)
def test_thinking_the_model_does_not_take(model: str, thinking: dict[str, Any]) -> None:
    """400 INVALID_ARGUMENT, as the real API."""
    status, _ = Bench().ask("Why?", model, generationConfig={"thinkingConfig": thinking})
    assert status == 400


def test_thoughts_use_up_max_output_tokens() -> None:
    """As with the real pro model, a small limit leaves no room for text."""
    _, body = Bench().ask("Why?", PRO, generationConfig={"maxOutputTokens": 60})
    (candidate,) = body["candidates"]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert "parts" not in candidate["content"]
    assert body["usageMetadata"]["thoughtsTokenCount"] == 60


def test_text_is_cut_at_max_output_tokens() -> None:
    """MAX_TOKENS with the start of the text."""
    _, body = Bench().ask("Some words. " * 20, generationConfig={"maxOutputTokens": 4})
    assert body["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert body["usageMetadata"]["candidatesTokenCount"] == 4
    assert len(text_of(body)) <= 16


def test_generation_config_in_either_spelling() -> None:
    """Snake case works as camel case does; stop sequences and thoughts are honoured."""
    config = {"stop_sequences": ["wait"], "thinking_config": {"include_thoughts": True}}
    _, body = Bench().ask("The trains wait here.", FLASH, generation_config=config)
    thought, text = body["candidates"][0]["content"]["parts"]
    assert thought["thought"] is True
    assert text["text"] == "[simulated] The trains "


def test_schema_answers() -> None:
    """JSON by the schema, JSON without one, and one label of an enum."""
    bench = Bench()
    schema = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}
    for field in ("responseSchema", "responseJsonSchema"):
        config = {"responseMimeType": "application/json", field: schema}
        _, body = bench.ask("Seven of nine.", generationConfig=config)
        assert isinstance(json.loads(text_of(body))["n"], int)
    _, body = bench.ask("Hi.", generationConfig={"responseMimeType": "application/json"})
    assert json.loads(text_of(body)) == {"simulated": True, "answer": "[simulated] Hi."}
    label = {"responseMimeType": "text/x.enum", "responseSchema": {"enum": ["yes", "no"]}}
    assert text_of(bench.ask("Hi.", generationConfig=label)[1]) in ("yes", "no")


def test_cached_content_counts() -> None:
    """It is part of the prompt's tokens."""
    usage = Bench().ask("Hi.", cachedContent="cachedContents/abc")[1]["usageMetadata"]
    assert usage["cachedContentTokenCount"] == CACHED_TOKENS
    assert usage["promptTokenCount"] > CACHED_TOKENS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        {},
        {"contents": []},
        {"contents": [{"role": "user"}]},
        {"contents": [{"parts": [{}]}]},
        {"contents": [{"role": "boss", "parts": [{"text": "a"}]}]},
        {"contents": ["a"]},
        {"contents": [{"parts": [{"text": "a"}]}], "prompt": 1},
        {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"temperature": 3}},
        {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"topP": 2}},
        {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"candidateCount": 2}},
        {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": {"maxOutputTokens": 0}},
        {"contents": [{"parts": [{"text": "a"}]}], "generationConfig": 5},
    ],
)
def test_malformed_requests_are_refused(body: Any) -> None:
    """400 INVALID_ARGUMENT in Google's form; never counted as answered."""
    bench = Bench()
    reply = bench.post(f"/v1beta/models/{FLASH}:generateContent", body)
    error = json.loads(reply.chunks[0])["error"]
    assert (reply.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert error["message"]
    stats = bench.engine.ledger.snapshot()
    assert (stats["calls"], stats["succeeded"], stats["calls_by_status"]) == (1, 0, {"400": 1})


def test_a_single_content_is_a_list_of_one() -> None:
    """As Google's JSON reader has it."""
    reply = Bench().post(
        f"/v1/models/{LITE}:generateContent", {"contents": {"parts": {"text": "Hi."}}}
    )
    assert reply.status == 200


@pytest.mark.parametrize(
    ("path", "wording"),
    [
        ("/v1beta/models/gemini-9:generateContent", "is not found for API version v1beta"),
        ("/v1/models/gemini-embedding-001:generateContent", "not supported for generateContent"),
        (f"/v1/models/{FLASH}:embedContent", "not supported for embedContent"),
        (
            "/v1beta1/projects/p/locations/global/publishers/google/models/x:generateContent",
            "Publisher Model `projects/p/locations/global/publishers/google/models/x`",
        ),
    ],
)
def test_unknown_models(path: str, wording: str) -> None:
    """404 NOT_FOUND in the wording of the API asked."""
    bench = Bench()
    reply = bench.post(path, {})
    error = json.loads(reply.chunks[0])["error"]
    assert (reply.status, error["status"]) == (404, "NOT_FOUND")
    assert wording in error["message"]


def test_latency_grows_with_model_and_output() -> None:
    """Pro is slowest; scale 0 is none; a directive goes before the scale."""
    medians = []
    for model in (LITE, FLASH, PRO):
        bench = Bench(latency_scale=1)
        body = {"contents": {"parts": {"text": "a"}}}
        path = f"/v1/models/{model}:generateContent"
        drawn = sorted(bench.post(path, body).latency_s for _ in range(301))
        medians.append(drawn[150])
    assert 0.3 < medians[0] < 1.5
    assert medians[0] * 2 < medians[1] < medians[2]
    assert 6 < medians[2] < 25
    body = {"contents": {"parts": {"text": "[[sim: latency=2s]]"}}}
    assert Bench().post(f"/v1/models/{LITE}:generateContent", body).latency_s == 2.0


def test_key_check() -> None:
    """403 without a key, 400 API_KEY_INVALID with a wrong one, 401 on Vertex."""
    bench = Bench(api_key="right")
    path, body = f"/v1beta/models/{LITE}:generateContent", {"contents": {"parts": {"text": "a"}}}
    vertex = f"/v1/projects/p/locations/l/publishers/google/models/{LITE}:generateContent"
    assert bench.post(path, body, key="right").status == 200
    assert bench.post(path, body).status == 403
    wrong = bench.post(path, body, key="wrong")
    assert wrong.status == 400
    assert json.loads(wrong.chunks[0])["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert bench.post(vertex, body, key="wrong").status == 401


def test_counters_of_prompts() -> None:
    """Calls and successes of each prompt, by the first half of the SHA-256 of its text."""
    bench = Bench()
    bench.ask("a")
    for _ in range(3):
        bench.ask("b [[sim: 503 x1]]")
    stats = bench.engine.ledger.snapshot(prompts=True)
    assert (stats["prompts"], stats["calls_per_prompt_max"]) == (2, 3)
    assert stats["prompts_called_more_than_once"] == 1
    assert (stats["succeeded"], stats["prompts_succeeded_more_than_once"]) == (3, 1)
    assert stats["by_prompt"][prompt_key("a")] == {"calls": 1, "succeeded": 1}
    assert stats["by_prompt"][prompt_key("b [[sim: 503 x1]]")] == {"calls": 3, "succeeded": 2}
    assert stats["rates"][LITE]["requests_per_min"] == 4
    bench.seconds += 61
    assert bench.engine.ledger.snapshot()["rates"][LITE]["requests_per_min"] == 0


def test_the_key_joins_all_parts() -> None:
    """Several text parts count as their concatenation; half a surrogate does no harm."""
    bench = Bench()
    path = f"/v1/models/{LITE}:generateContent"
    assert bench.post(path, {"contents": {"parts": [{"text": "a"}, {"text": "b"}]}}).succeeded
    assert bench.post(path, b'{"contents": {"parts": {"text": "half \\ud83d"}}}').succeeded
    assert prompt_key("ab") in bench.engine.ledger.snapshot(prompts=True)["by_prompt"]


def test_count_tokens() -> None:
    """It counts what generateContent would count, and is no call of the prompt."""
    bench = Bench()
    inner = {
        "contents": {"parts": {"text": "word " * 8}},
        "systemInstruction": {"parts": [{"text": "abcd"}]},
    }
    for body in (inner, {"generateContentRequest": inner}):
        reply = bench.post(f"/v1/models/{PRO}:countTokens", body)
        assert json.loads(reply.chunks[0])["totalTokens"] == 11
    assert bench.engine.ledger.snapshot()["prompts"] == 0


def test_streams_add_up() -> None:
    """The pieces of a streamed answer are the answer; only the last has a finish reason."""
    bench = Bench()
    body = {"contents": {"parts": {"text": "The yard is full. The trains wait."}}}
    reply = bench.post(f"/v1/models/{LITE}:streamGenerateContent", body)
    stream = json.loads(b"".join(reply.chunks))
    assert len(stream) == 4
    assert (
        "".join(text_of(piece) for piece in stream)
        == "[simulated] The yard is full. The trains wait."
    )
    reasons = [piece["candidates"][0].get("finishReason") for piece in stream]
    assert reasons == [None, None, None, "STOP"]
