"""``promptyard route`` with credentials: the judge and the Gemini encoder are really asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer
from tests.unit.test_explanation import JUDGED, POLICY, PROOF, decided, folder, rows, say, write

__all__ = ["folder"]  # used by every test

LITE = "gemini-2.5-flash-lite"
CALM = {"name": "calm", "tier": "lite", "model": LITE, "description": "Calm prompts."}
LOUD = {"name": "loud", "tier": "lite", "model": LITE, "description": "Loud prompts."}
GEMINI = {"type": "gemini", "dimensions": 128}


@pytest.fixture(autouse=True)
def sim(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[SimServer]:
    """The stand-in, and the credentials it takes."""
    with SimServer(SimConfig(latency_scale=0, api_key="right")) as server:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", server.url)
        monkeypatch.setenv("GEMINI_API_KEY", "right")
        yield server


def answer(route: str) -> str:
    """A prompt about which the judge says this."""
    entry = {"index": "1", "why": "It [says] so.", "route": route, "confidence": 0.9}
    return f"Hello. [[sim: answer={json.dumps([entry])}]]"


def test_the_judge_is_asked_and_its_reason_shown() -> None:
    """At every fork, however small its share of many prompts is."""
    judged: dict[str, Any] = {
        **JUDGED,
        "default": "lite",
        "routes": [{"name": "calm", "routes": [LOUD, CALM]}, LOUD],
        "models": {LITE: POLICY["models"]["small"]},
        "judge": {"model": LITE, "max_share": 0.01},
    }
    write("router.yaml", judged)
    lines = rows(say(answer("calm")))
    assert lines[:3] == [f"lite ({LITE}), by judge", "route calm/calm", "reason It [says] so."]
    assert {"calm │ - │ 0.9000", "calm/calm │ - │ 0.9000"} <= set(lines)


def test_utterances_are_embedded_once_for_many_questions(sim: SimServer, folder: Path) -> None:
    """They are kept in the home, as a worker keeps them."""
    write("router.yaml", {**POLICY, "encoder": GEMINI})
    assert decided(PROOF).route == "maths/hard"
    assert any((folder / "home" / "cache").iterdir())
    calls = sim.stats()["calls_by_method"]["batchEmbedContents"]
    assert decided(PROOF).route == "maths/hard"
    assert sim.stats()["calls_by_method"]["batchEmbedContents"] == calls + 1


def test_the_api_counts_the_tokens_when_asked(
    sim: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the instruction; the cost follows. A key that is refused is named as the reason."""
    models = {LITE: POLICY["models"]["small"]}
    policy = {**JUDGED, "default": "lite", "routes": [CALM], "models": models}
    write("router.yaml", {**policy, "judge": {"model": LITE}})
    job = {"prompt": PROOF, "system_instruction": "Be brief. " * 50, "tier": "lite"}
    Path("job.json").write_text(json.dumps(job))
    said = " ".join(rows(say("--file", "job.json", "--count-tokens")))
    assert sim.stats()["calls_by_method"]["countTokens"] == 1
    assert "in the prompt, as the API counts them" in said
    said = " ".join(rows(say("--file", "job.json")))
    assert "as the API counts them" not in said
    assert sim.stats()["calls_by_method"]["countTokens"] == 1
    monkeypatch.setenv("GEMINI_API_KEY", "wrong")
    refused = say("--file", "job.json", "--count-tokens")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "promptyard doctor" in refused.stderr
