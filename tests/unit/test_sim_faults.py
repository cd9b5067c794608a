"""What the stand-in plays when a prompt, or chance, asks for a fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptyard_worker.sim.fault import Fault
from tests.unit.sim_bench import LITE, Bench, text_of


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


def test_played_403s() -> None:
    """Bare, it is about the key; with ``model``, it names the model as the API asked does."""
    bench = Bench()
    assert "models/" not in bench.ask("[[sim: 403]]")[1]["error"]["message"]
    status, body = bench.ask("[[sim: 403 model]]")
    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert f"models/{LITE}" in body["error"]["message"]
    vertex = f"projects/p/locations/l/publishers/google/models/{LITE}"
    request = {"contents": {"parts": {"text": "[[sim: 403 model x1]]"}}}
    replies = [bench.post(f"/v1/{vertex}:generateContent", request) for _ in range(2)]
    assert [reply.status for reply in replies] == [403, 200]
    (info,) = json.loads(replies[0].chunks[0])["error"]["details"]
    assert info["reason"] == "IAM_PERMISSION_DENIED"
    assert info["metadata"]["resource"] == vertex


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
        json.loads(text_of(bench.ask("[[sim: badjson]]")[1]))
    stats = bench.engine.ledger.snapshot()
    assert (stats["calls_by_status"], stats["succeeded"]) == ({"200": 5}, 0)


def test_a_dictated_answer() -> None:
    """It is given as it stands, schema or not, and cut where it is too long."""
    bench = Bench()
    assert text_of(bench.ask('[[sim: answer="Paris."]]')[1]) == "Paris."
    config: dict[str, Any] = {"responseSchema": {"type": "STRING"}}
    assert text_of(bench.ask('[[sim: answer={"a": 1}]]', generationConfig=config)[1]) == '{"a": 1}'
    assert text_of(bench.ask('[[sim: answer="x"]]', generationConfig=config)[1]) == '"x"'


def test_hang_and_disconnect_are_left_to_the_server() -> None:
    """The reply says so, and is no answer."""
    bench = Bench()
    for fault in (Fault.HANG, Fault.DISCONNECT):
        body = {"contents": {"parts": {"text": f"[[sim: {fault}]]"}}}
        assert bench.post(f"/v1/models/{LITE}:generateContent", body).fault is fault


def test_faults_by_rate_spare_prompts_with_a_plan() -> None:
    """A prompt that says what happens to it is not hit by chance."""
    bench = Bench(faults={"500": 1.0})
    assert bench.ask("a")[0] == 500
    assert [bench.ask("a [[sim: 503 x1]]")[0] for _ in range(2)] == [503, 200]
    body = {"content": {"parts": [{"text": "[[sim: 404]]"}]}}
    assert bench.post("/v1/models/gemini-embedding-001:embedContent", body).status == 500
