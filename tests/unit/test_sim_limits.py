"""Context windows and quotas of the stand-in: whom they let in."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from promptyard_worker.sim.route import read_path
from tests.unit.sim_bench import FLASH, LITE, PRO, Bench


def test_prompt_too_long() -> None:
    """The message names both counts, as a worker that looks for a larger window needs."""
    bench = Bench(context_tokens={LITE: 10})
    status, body = bench.ask("word " * 100)
    assert status == 400
    assert "(125) exceeds the maximum number of tokens allowed (10)" in body["error"]["message"]


def test_each_model_has_a_window_of_its_own() -> None:
    """What one cannot read, another can; ``*`` stands for those that are not named."""
    bench = Bench(context_tokens={LITE: 10, FLASH: 125, "*": 124})
    prompt = "word " * 100
    assert [bench.ask(prompt, model)[0] for model in (LITE, FLASH, PRO)] == [400, 200, 400]


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
