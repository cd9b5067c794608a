"""The stand-in without HTTP: calls in, replies out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from promptyard_worker.sim.call import Reply
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.engine import Engine
from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.prompt import CACHED_TOKENS, prompt_key
from promptyard_worker.sim.route import read_path

FLASH, LITE, PRO = "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"


class Bench:
    """An engine, with clocks set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.seconds = 1_000.0
        self.time = datetime(2026, 10, 5, 12, tzinfo=UTC)
        config = SimConfig.model_validate({"latency_scale": 0, **settings})
        self.engine = Engine(config, clock=lambda: self.seconds, now=lambda: self.time)

    def post(self, path: str, body: Any, *, key: str | None = None, leave: bool = True) -> Reply:
        """One call; it stays in flight without ``leave``."""
        route = read_path(path)
        assert route is not None
        call = self.engine.open(route, sse=False)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = self.engine.reply(call, data, key)
        if leave:
            self.engine.ledger.leave(call.tally, str(reply.status), admitted=call.admitted)
        if reply.succeeded and call.key is not None:
            self.engine.ledger.succeed(call.key)
        return reply

    def ask(self, text: str, model: str = LITE, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of one generateContent."""
        contents = [{"role": "user", "parts": [{"text": text}]}]
        path = f"/v1beta/models/{model}:generateContent"
        reply = self.post(path, {"contents": contents, **body})
        return reply.status, json.loads(reply.chunks[0])


def _text(body: dict[str, Any]) -> str:
    text = body["candidates"][0]["content"]["parts"][0]["text"]
    assert isinstance(text, str)
    return text


def test_an_answer_says_that_it_is_simulated() -> None:
    """Text, model version and usage of an ordinary answer."""
    status, body = Bench().ask("The yard is full. The trains wait for a signal at the gate.")
    assert status == 200
    assert _text(body).startswith("[simulated] The yard is full.")
    assert body["modelVersion"] == "gemini-2.5-flash-lite-simulated"
    assert body["candidates"][0]["finishReason"] == "STOP"
    usage = body["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]
    assert body["responseId"]


def test_same_prompt_same_text() -> None:
    """Answers are deterministic."""
    assert _text(Bench().ask("One. Two.")[1]) == _text(Bench(seed=9).ask("One. Two.")[1])


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
    assert len(_text(body)) <= 16


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
        assert isinstance(json.loads(_text(body))["n"], int)
    _, body = bench.ask("Hi.", generationConfig={"responseMimeType": "application/json"})
    assert json.loads(_text(body)) == {"simulated": True, "answer": "[simulated] Hi."}
    label = {"responseMimeType": "text/x.enum", "responseSchema": {"enum": ["yes", "no"]}}
    assert _text(bench.ask("Hi.", generationConfig=label)[1]) in ("yes", "no")


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


def test_prompt_too_long() -> None:
    """The message names both counts, as a worker that looks for a larger window needs."""
    status, body = Bench(context_tokens={LITE: 10}).ask("word " * 100)
    assert status == 400
    assert "(125) exceeds the maximum number of tokens allowed (10)" in body["error"]["message"]


def test_rpm_slides_and_is_per_model() -> None:
    """The third call in 60 s is refused on one model, not on another."""
    bench = Bench(rpm={LITE: 2})
    assert [bench.ask("a")[0] for _ in range(3)] == [200, 200, 429]
    assert bench.ask("a", FLASH)[0] == 200
    bench.seconds += 60.1
    assert bench.ask("a")[0] == 200
    assert bench.engine.ledger.snapshot()["rate_limited"] == {"rpm": 1}


def test_tpm_counts_input_tokens() -> None:
    """Thoughts and answers do not count."""
    bench = Bench(tpm={"*": 100})
    assert bench.ask("word " * 40)[0] == 200
    status, body = bench.ask("word " * 60)
    assert status == 429
    quota_id = body["error"]["details"][0]["violations"][0]["quotaId"]
    assert quota_id == "GenerateContentPaidTierInputTokensPerModelPerMinute"


def test_rpd_resets_at_midnight_pacific() -> None:
    """RetryInfo tells the time until then."""
    bench = Bench(rpd={"*": 1})
    assert bench.ask("a")[0] == 200
    status, body = bench.ask("a")
    assert status == 429
    assert body["error"]["details"][2]["retryDelay"] == f"{19 * 3600}s"
    bench.time = datetime(2026, 10, 6, 7, tzinfo=UTC)
    assert bench.ask("a")[0] == 200


def test_concurrency_limit() -> None:
    """A call above it is refused; when one leaves, the next is let in."""
    bench = Bench(max_concurrency={LITE: 1})
    path, body = f"/v1beta/models/{LITE}:generateContent", {"contents": {"parts": {"text": "a"}}}
    route = read_path(path)
    assert route is not None
    first = bench.engine.open(route, sse=False)
    assert bench.engine.reply(first, json.dumps(body).encode()).status == 200
    assert bench.post(path, body).status == 429
    bench.engine.ledger.leave(first.tally, "200", admitted=first.admitted)
    assert bench.post(path, body).status == 200
    stats = bench.engine.ledger.snapshot()
    assert (stats["in_flight"], stats["max_in_flight"]) == (0, 2)
    assert stats["rate_limited"] == {"concurrency": 1}


def test_each_text_of_a_batch_counts_against_the_quota() -> None:
    """As the real embedding quota counts."""
    bench = Bench(rpm={"gemini-embedding-001": 5})
    body = {"requests": [{"content": {"parts": [{"text": "a"}]}}] * 3}
    path = "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert [bench.post(path, body).status for _ in range(2)] == [200, 429]
    assert bench.engine.ledger.snapshot()["texts_embedded"] == 3


def test_directives_of_status() -> None:
    """The first calls of this very prompt fail, then it succeeds."""
    bench = Bench()
    assert [bench.ask("a [[sim: 503 x2]]")[0] for _ in range(3)] == [503, 503, 200]
    assert bench.ask("b [[sim: 503 x2]]")[0] == 503
    assert bench.ask("a [[sim: 404]]")[0] == 404
    bench.engine.reset()
    assert bench.ask("a [[sim: 503 x2]]")[0] == 503


def test_played_429s() -> None:
    """Bare, or with the quota and the delay asked for."""
    bench = Bench()
    assert "details" not in bench.ask("[[sim: 429]]")[1]["error"]
    details = bench.ask("[[sim: 429 retry=3s]]")[1]["error"]["details"]
    assert details[2]["retryDelay"] == "3s"
    assert "PerMinute" in details[0]["violations"][0]["quotaId"]
    details = bench.ask("[[sim: 429 quota=rpd]]")[1]["error"]["details"]
    assert details[0]["violations"][0]["quotaId"] == "GenerateRequestsPerDayPerProjectPerModel"
    assert details[2]["retryDelay"] == f"{19 * 3600}s"
    assert bench.engine.ledger.snapshot()["rate_limited"] == {"fault": 3}


def test_directives_of_the_answer() -> None:
    """Odd answers of status 200 do not count as succeeded."""
    bench = Bench()
    blocked = bench.ask("[[sim: block]]")[1]
    assert blocked["promptFeedback"]["blockReason"] == "SAFETY"
    assert "candidates" not in blocked
    (withheld,) = bench.ask("[[sim: safety]]")[1]["candidates"]
    assert withheld["finishReason"] == "SAFETY"
    assert "content" not in withheld
    assert "candidates" not in bench.ask("[[sim: empty]]")[1]
    (cut,) = bench.ask("[[sim: max_tokens]]")[1]["candidates"]
    assert (cut["finishReason"], cut["content"]) == ("MAX_TOKENS", {"role": "model"})
    with pytest.raises(json.JSONDecodeError):
        json.loads(_text(bench.ask("[[sim: badjson]]")[1]))
    stats = bench.engine.ledger.snapshot()
    assert (stats["calls_by_status"], stats["succeeded"]) == ({"200": 5}, 0)


def test_a_dictated_answer() -> None:
    """It is given as it stands, schema or not, and cut where it is too long."""
    bench = Bench()
    assert _text(bench.ask('[[sim: answer="Paris."]]')[1]) == "Paris."
    config: dict[str, Any] = {"responseSchema": {"type": "STRING"}}
    assert _text(bench.ask('[[sim: answer={"a": 1}]]', generationConfig=config)[1]) == '{"a": 1}'
    assert _text(bench.ask('[[sim: answer="x"]]', generationConfig=config)[1]) == '"x"'


def test_hang_and_disconnect_are_left_to_the_server() -> None:
    """The reply says so, and is no answer."""
    bench = Bench()
    for fault in (Fault.HANG, Fault.DISCONNECT):
        body = {"contents": {"parts": {"text": f"[[sim: {fault}]]"}}}
        assert bench.post(f"/v1/models/{LITE}:generateContent", body).fault is fault


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


def test_faults_by_rate_spare_prompts_with_a_plan() -> None:
    """A prompt that says what happens to it is not hit by chance."""
    bench = Bench(faults={"500": 1.0})
    assert bench.ask("a")[0] == 500
    assert [bench.ask("a [[sim: 503 x1]]")[0] for _ in range(2)] == [503, 200]
    body = {"content": {"parts": [{"text": "[[sim: 404]]"}]}}
    assert bench.post("/v1/models/gemini-embedding-001:embedContent", body).status == 500


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
        "".join(_text(piece) for piece in stream)
        == "[simulated] The yard is full. The trains wait."
    )
    reasons = [piece["candidates"][0].get("finishReason") for piece in stream]
    assert reasons == [None, None, None, "STOP"]
