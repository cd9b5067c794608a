"""GeminiDecisionModel over real HTTP: what it sends, and that semantic-router can use it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import types

from promptyard.catalog import Price
from promptyard_worker.gemini.blocking import blocking_client
from promptyard_worker.gemini.credentials import Credentials
from promptyard_worker.routing.caps import LocalAllowance, Purse
from promptyard_worker.routing.decision_model import GeminiDecisionModel, choice
from promptyard_worker.routing.stages import JudgeConfig
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer

MODEL = "gemini-2.5-flash-lite"
QUESTION = choice("Which?", {"hard": "Proofs and designs.", "easy": "Greetings."})


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


def dictating(route: str, confidence: float) -> str:
    """A prompt that makes the stand-in answer so."""
    entry = {"index": "1", "why": "Why.", "route": route, "confidence": confidence}
    return f"Sort me. [[sim: answer={json.dumps([entry])}]]"


def test_it_answers_in_semantic_routers_shape(client: genai.Client) -> None:
    """A choice with its confidence, probabilities of all options, and the reason."""
    model = GeminiDecisionModel(name=MODEL, open_client=lambda: client)
    answer = asyncio.run(model.aask(dictating("easy", 0.75), {"q": QUESTION}))["q"]
    assert answer == {
        "type": "choice",
        "choice": "easy",
        "confidence": 0.75,
        "probabilities": {"hard": 0.25, "easy": 0.75},
        "reason": "Why.",
    }


def test_several_questions_are_asked_of_each_prompt(client: genai.Client, sim: SimServer) -> None:
    """One result a prompt, keyed by the names of the questions."""
    model = GeminiDecisionModel(name=MODEL, open_client=lambda: client, prompts_per_call=2)
    found = asyncio.run(model.aask_many(["a", "b", "c"], {"one": QUESTION, "two": QUESTION}))
    assert [sorted(answers) for answers in found] == [["one", "two"]] * 3
    assert sim.stats()["calls"] == 4


def test_only_choices_are_answered(client: genai.Client, sim: SimServer) -> None:
    """A question of another type is refused before anything is paid."""
    model = GeminiDecisionModel(name=MODEL, open_client=lambda: client)
    with pytest.raises(ValueError, match="choice"):
        model.ask_many(["x"], {"sure": {"type": "noul", "criteria": {"true": "yes"}}})
    assert sim.stats()["calls"] == 0


def test_it_serves_the_librarys_own_router(client: genai.Client) -> None:
    """Its confidence is not said to be a probability."""
    from semantic_router.route import Route
    from semantic_router.routers.decision import DecisionRouter
    from semantic_router.schema import RouteChoice

    model = GeminiDecisionModel(name=MODEL, open_client=lambda: client)
    routes = [Route(name=name, description=name) for name in ("hard", "easy")]
    found = DecisionRouter(model, routes)(dictating("easy", 0.8))
    assert isinstance(found, RouteChoice)
    assert (found.name, found.confidence, found.calibrated) == ("easy", 0.8, False)


@pytest.mark.parametrize(("fault", "paid"), [("503", False), ("block", True), ("hang", True)])
def test_what_may_have_been_paid_is_on_the_bill(
    client: genai.Client, fault: str, paid: bool
) -> None:
    """An error is free, a refusal is not; of a call without an answer the estimate stays."""
    allowance = LocalAllowance()
    purse = Purse(allowance, JudgeConfig(model=MODEL), Price(input=0.1, output=0.4))
    model = GeminiDecisionModel(name=MODEL, open_client=lambda: client, purse=purse, timeout_s=0.3)
    model.ask_many([f"[[sim: {fault}]]"], {"q": QUESTION})
    is_free = allowance.ask(calls_per_minute=10, max_cost_usd_per_day=1e-9)
    assert is_free is not paid


def test_the_deadline_does_not_rest_on_the_http_client(
    client: genai.Client, sim: SimServer
) -> None:
    """Whatever a call hangs in, here the opening; and what is late is not sent any more."""
    gate = threading.Event()

    def open_slowly() -> genai.Client:
        gate.wait(5)
        return client

    model = GeminiDecisionModel(name=MODEL, open_client=open_slowly, timeout_s=0.1)
    started_s = time.monotonic()
    ((answer,),) = [list(one.values()) for one in model.ask_many(["Hi."], {"q": QUESTION})]
    assert time.monotonic() - started_s < 2
    assert (answer["choice"], answer["error"]) == (None, "TimeoutError")
    gate.set()
    model._pool.shutdown()  # waits for the call
    assert sim.stats()["calls"] == 0


def sent_by(sim: SimServer, *prompts: str, **options: Any) -> list[httpx.Request]:
    """The requests that asking makes."""
    sent: list[httpx.Request] = []
    with httpx.Client(event_hooks={"request": [sent.append]}) as http:
        hooked = types.HttpOptions(base_url=sim.url, httpx_client=http)
        with genai.Client(api_key="secret", http_options=hooked) as client:
            model = GeminiDecisionModel(name=MODEL, open_client=lambda: client, **options)
            model.ask_many(prompts, {"q": QUESTION})
    return sent


def test_what_goes_over_the_wire(sim: SimServer) -> None:
    """No thinking, no chance, a schema; rules apart from the prompts; the key in its header."""
    (request,) = sent_by(sim, "Choose hard!", "Hi.", timeout_s=3)
    body = json.loads(request.content)
    config = body["generationConfig"]
    assert config["temperature"] == 0
    assert config["thinkingConfig"] == {"thinking_budget": 0}
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["items"]["properties"]["route"]["enum"] == ["hard", "easy"]
    assert config["maxOutputTokens"] > 0
    (rules,), (turn,) = body["systemInstruction"]["parts"], body["contents"]
    assert "- hard: Proofs and designs." in rules["text"]
    assert "Choose hard!" not in rules["text"]
    assert "Choose hard!" in turn["parts"][0]["text"]
    assert request.headers["x-server-timeout"] == "10"
    assert "secret" not in str(request.url)


def test_long_prompts_are_sent_as_excerpts(sim: SimServer) -> None:
    """The call stays small, whatever the prompts are."""
    (request,) = sent_by(sim, *["word " * 100_000] * 4, excerpt_chars=500)
    assert len(request.content) < 8_000
