"""The judge against the stand-in: it decides, fails without harm, and keeps to its caps."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google import genai

from promptyard.catalog import Price
from promptyard.errors import RouterFileError
from promptyard.job import Decision, Job
from promptyard.names import Tier
from promptyard_worker.gemini.blocking import blocking_client
from promptyard_worker.gemini.credentials import Credentials
from promptyard_worker.routing import RouteConfig, RouterConfig
from promptyard_worker.routing.caps import LocalAllowance
from promptyard_worker.routing.execution import ModelConfig
from promptyard_worker.routing.judge import JudgeStage
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stage import Chunk, Fork, Opinion, Vectors
from promptyard_worker.routing.stages import JudgeConfig
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer
from tests.threads import in_threads

LITE = "gemini-2.5-flash-lite"
PRO = "gemini-2.5-pro"
ROUTES = (
    RouteConfig(name="hard", tier=Tier.PRO, model=PRO, description="Proofs and designs."),
    RouteConfig(name="easy", tier=Tier.LITE, model=LITE, utterances=("Hi.", "Thanks.")),
)
ROOT = Fork("", ROUTES)
MODELS = {
    name: ModelConfig(
        tier=tier, price=Price(input=0.1, output=0.4), context_window=1_000_000, timeout_s=60
    )
    for name, tier in ((PRO, Tier.PRO), (LITE, Tier.LITE))
}
#: Faults that the stand-in plays, and what the log says of them.
FAULTS = {
    "400": "ClientError 400",
    "403": "ClientError 403",
    "429": "ClientError 429",
    "503": "ServerError 503",
    "disconnect": "RemoteProtocolError",
    "block": "UselessAnswer",
    "safety": "UselessAnswer",
    "empty": "UselessAnswer",
    "max_tokens": "UselessAnswer",
    "badjson": "UselessAnswer",
    "hang": "TimeoutError",
}


class NoEmbedder:
    """The judge embeds nothing."""

    def embed(self, readings: Any) -> Vectors:
        """Rows without columns."""
        return np.zeros((len(readings), 0), dtype=np.float32)


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    """One stand-in without latency."""
    with SimServer(SimConfig(latency_scale=0, hang_s=5)) as made:
        yield made


@pytest.fixture
def sim(server: SimServer) -> SimServer:
    """The stand-in with its counters at zero."""
    server.reset()
    return server


@pytest.fixture
def client(sim: SimServer) -> Iterator[genai.Client]:
    """As the station opens it."""
    with blocking_client(credentials=Credentials(api_key="k"), base_url=sim.url) as made:
        yield made


def policy(**judge: Any) -> RouterConfig:
    """A policy with a judge that may see all."""
    options = {"model": LITE, "max_share": 1, "calls_per_minute": 1000, **judge}
    return RouterConfig(
        version=1,
        stages=("judge",),
        judge=JudgeConfig(**options),
        default=Tier.LITE,
        routes=ROUTES,
        models=MODELS,
    )


def judge_of(client: genai.Client, **judge: Any) -> JudgeStage:
    """The stage over the stand-in."""
    return JudgeStage(policy(**judge), Services(gemini=lambda: client))


def chunk_of(*texts: str) -> Chunk:
    """A chunk of plain prompts."""
    return Chunk([Reading(text) for text in texts], NoEmbedder())


def entry(index: int, route: str, confidence: float = 0.9) -> dict[str, Any]:
    """One entry of an answer."""
    return {"index": str(index), "why": f"Why {index}.", "route": route, "confidence": confidence}


def dictating(*entries: dict[str, Any]) -> str:
    """A prompt that makes the stand-in answer its call with these entries."""
    return f"Sort me. [[sim: answer={json.dumps(entries)}]]"


def picks(opinions: list[Opinion]) -> list[str | None]:
    """What was picked."""
    return [opinion.pick for opinion in opinions]


def test_a_sure_verdict_decides_and_an_unsure_one_is_on_record(client: genai.Client) -> None:
    """Reason and probabilities come with both."""
    stage = judge_of(client, threshold=0.6)
    text = dictating(entry(1, "hard", 0.9), entry(2, "easy", 0.4))
    sure, unsure = stage.opinions(chunk_of(text, "Hello."), ROOT)
    assert (sure.pick, sure.reason, sure.scores) == ("hard", "Why 1.", {})
    assert sure.probabilities == pytest.approx({"hard": 0.9, "easy": 0.1})
    assert (unsure.pick, unsure.reason) == (None, "Why 2.")
    assert unsure.probabilities == pytest.approx({"hard": 0.6, "easy": 0.4})


@pytest.mark.parametrize("prompts_per_call", [1, 10, 16, 64])
def test_a_chunk_is_asked_in_as_few_calls_as_may_be(
    client: genai.Client, sim: SimServer, prompts_per_call: int
) -> None:
    """Of 64 prompts each gets its own opinion, in ceil(64 / prompts_per_call) calls."""
    stage = judge_of(client, prompts_per_call=prompts_per_call, threshold=0)
    opinions = stage.opinions(chunk_of(*[f"Prompt {n}." for n in range(64)]), ROOT)
    assert all(opinion.pick in ("hard", "easy") and opinion.reason for opinion in opinions)
    assert sim.stats()["calls"] == math.ceil(64 / prompts_per_call)
    assert set(sim.stats()["calls_by_model"]) == {LITE}


def test_a_bad_entry_leaves_only_its_prompt_open(client: genai.Client) -> None:
    """A missing index, an unknown route, two entries for one prompt."""
    entries = [entry(1, "hard"), entry(2, "nowhere"), entry(3, "easy"), entry(3, "hard")]
    text = dictating(*entries, entry(5, "easy"))
    opinions = judge_of(client).opinions(chunk_of(text, *"abcd"), ROOT)
    assert picks(opinions) == ["hard", None, None, None, "easy"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_leaves_prompts_open_and_says_so_once(
    client: genai.Client, sim: SimServer, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """One call, one warning with the type of the failure, nothing of the prompt, no delay."""
    stage = judge_of(client, timeout_s=0.5)
    started_s = time.monotonic()
    opinions = stage.opinions(chunk_of(f"SECRET [[sim: {fault}]]", "Hello."), ROOT)
    assert time.monotonic() - started_s < 3
    assert opinions == [Opinion(), Opinion()]
    assert sim.stats()["calls"] == 1
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "2 prompts" in record.getMessage()
    # the HTTP client and the stage have the same deadline; either may be first
    said = record.getMessage().replace("ReadTimeout", "TimeoutError")
    assert FAULTS[fault] in said
    assert "SECRET" not in caplog.text


def test_a_slow_call_does_not_spoil_the_others(client: genai.Client) -> None:
    """What was answered in time counts."""
    stage = judge_of(client, prompts_per_call=1, timeout_s=1.5)
    answers = [dictating(entry(1, "hard")), "[[sim: hang]]", dictating(entry(1, "easy"))]
    assert picks(stage.opinions(chunk_of(*answers), ROOT)) == ["hard", None, "easy"]


def test_after_failures_in_a_row_it_is_not_asked(client: genai.Client, sim: SimServer) -> None:
    """An API that is down costs no chunk its time."""
    stage = judge_of(client)
    for _ in range(5):
        assert picks(stage.opinions(chunk_of("[[sim: 503]]"), ROOT)) == [None]
    assert sim.stats()["calls"] == 3


def test_without_credentials_prompts_stay_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a key nor a client is a reason to fail a job."""
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    for services in (Services(gemini=blocking_client), Services()):
        stage = JudgeStage(policy(), services)
        assert stage.opinions(chunk_of("Hi."), ROOT) == [Opinion()]
    assert "SettingsError" in caplog.text
    assert "RouterFileError" in caplog.text


def test_a_policy_without_its_model_is_refused() -> None:
    """The price would be unknown."""
    with pytest.raises(RouterFileError, match="no model 'other'"):
        JudgeStage(policy(model="other"), Services())
    with pytest.raises(RouterFileError, match="no `judge:`"):
        JudgeStage(policy().model_copy(update={"judge": None}), Services())


def test_threads_together_keep_to_the_share(client: genai.Client, sim: SimServer) -> None:
    """One call a prompt here, so the stand-in counts what the judge saw."""
    stage = judge_of(client, prompts_per_call=1, max_share=0.2)

    def work() -> None:
        for _ in range(4):
            stage.opinions(chunk_of(*[f"Prompt {n}." for n in range(16)]), ROOT)

    in_threads(4, work)
    assert sim.stats()["calls"] == math.ceil(0.2 * 4 * 4 * 16)


def test_prompts_that_others_decided_count_for_the_share(
    client: genai.Client, sim: SimServer
) -> None:
    """A share of all prompts, at the first fork; further forks bring no new prompts."""
    stage = judge_of(client, prompts_per_call=1, max_share=0.25)
    whole = chunk_of(*[f"Prompt {n}." for n in range(16)])
    stage.opinions(whole.part(range(10)), ROOT)
    assert sim.stats()["calls"] == 4
    stage.opinions(whole.part(range(10)), Fork("hard", ROUTES))
    assert sim.stats()["calls"] == 4


def test_prompts_that_were_not_allowed_were_not_seen(client: genai.Client, sim: SimServer) -> None:
    """They do not count for the share: it is free when the minute is over."""
    now_s = [0.0]
    services = Services(lambda: client, LocalAllowance(clock=lambda: now_s[0]))
    options = {"prompts_per_call": 1, "max_share": 0.5, "calls_per_minute": 1}
    stage, chunk = JudgeStage(policy(**options), services), chunk_of(*"abcd")
    for calls in (1, 2, 2):
        stage.opinions(chunk, ROOT)
        assert sim.stats()["calls"] == calls
        now_s[0] += 60


def test_threads_together_keep_to_the_calls_a_minute(
    client: genai.Client, sim: SimServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What is over stays open, and is no failure."""
    stage = judge_of(client, calls_per_minute=5, threshold=0)
    found: list[Opinion] = []

    def work() -> None:
        for _ in range(4):
            found.extend(stage.opinions(chunk_of("Hello there."), ROOT))

    in_threads(4, work)
    assert sim.stats()["calls"] == 5
    assert sum(opinion.pick is not None for opinion in found) == 5
    assert not caplog.records


def test_threads_together_keep_to_the_purse(client: genai.Client, sim: SimServer) -> None:
    """A day's limit holds whatever the number of threads; the bill is what the API reports."""
    stage = judge_of(client, max_cost_usd_per_day=0.001)

    def work() -> None:
        for _ in range(10):
            stage.opinions(chunk_of("Hello there."), ROOT)

    in_threads(4, work)
    spent, calls = sim.stats()["tokens"], sim.stats()["calls"]
    cost_usd = 1e-6 * (0.1 * spent["prompt"] + 0.4 * spent["candidates"])
    assert 0.0005 < cost_usd <= 0.001
    assert 1 < calls < 40


def test_the_router_takes_the_default_where_the_judge_fails(client: genai.Client) -> None:
    """A failed judge fails no job; one that answers is named on the record."""
    router = PromptRouter(policy(), Services(gemini=lambda: client))
    (failed,) = router.route([Job(contents="[[sim: 500]]")])
    assert isinstance(failed, Decision)
    assert (failed.stage, failed.tier) == ("default", Tier.LITE)
    (judged,) = router.route([Job(contents=dictating(entry(1, "hard")))])
    assert isinstance(judged, Decision)
    assert (judged.stage, judged.route, judged.model) == ("judge", "hard", PRO)
    assert (judged.reason, judged.probabilities["hard"]) == ("Why 1.", 0.9)
