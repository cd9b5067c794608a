"""The stand-in over HTTP, called by the real google-genai client."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
import typer
from google import genai
from google.genai import errors, types
from typer.testing import CliRunner

from promptyard.errors import StackError
from promptyard_worker.sim.command import sim
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.prompt import prompt_key
from promptyard_worker.sim.server import SimServer, serve

LITE = "gemini-2.5-flash-lite"


def wait_until(predicate: Callable[[], bool], *, description: str, timeout_s: float = 5.0) -> None:
    """Poll until true; fail with the description."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {description}")
        threading.Event().wait(0.01)


def client_of(server: SimServer, **options: Any) -> genai.Client:
    """A client as a user would configure it."""
    return genai.Client(
        **{"api_key": "any", **options},
        http_options=types.HttpOptions(base_url=server.url, timeout=10_000),
    )


@pytest.fixture(scope="module")
def shared() -> Iterator[SimServer]:
    """One server without latency for all tests of this module."""
    with SimServer(SimConfig(latency_scale=0)) as server:
        yield server


@pytest.fixture
def server(shared: SimServer) -> SimServer:
    """The shared server with fresh counters."""
    shared.reset()
    return shared


@pytest.fixture
def client(server: SimServer) -> Iterator[genai.Client]:
    """The sync client."""
    with client_of(server) as found:
        yield found


def get(url: str, method: str = "GET") -> Any:
    """The JSON at a URL."""
    with urlopen(Request(url, method=method), timeout=5) as answer:
        return json.loads(answer.read())


def open_call(server: SimServer, text: str) -> socket.socket:
    """A call on a bare connection, its request sent, its answer not read."""
    body = json.dumps({"contents": [{"parts": [{"text": text}]}]}).encode()
    head = f"POST /v1beta/models/{LITE}:generateContent HTTP/1.1\r\nhost: x\r\ncontent-length: "
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    connection.sendall(head.encode() + f"{len(body)}\r\n\r\n".encode() + body)
    return connection


def test_generate_content(client: genai.Client, server: SimServer) -> None:
    """Text, usage and model version arrive; the counters know the prompt."""
    answer = client.models.generate_content(model=LITE, contents="The yard is full.")
    assert answer.text == "[simulated] The yard is full."
    assert answer.model_version == f"{LITE}-simulated"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.prompt_token_count == 5
    stats = server.stats(prompts=True)
    assert stats["by_prompt"] == {prompt_key("The yard is full."): {"calls": 1, "succeeded": 1}}


def test_schema_answer_parses(client: genai.Client) -> None:
    """``response.parsed`` of the SDK is filled."""
    schema = {
        "type": "OBJECT",
        "properties": {"label": {"type": "STRING", "enum": ["good", "bad"]}},
        "required": ["label"],
    }
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_schema=schema,
        thinking_config=types.ThinkingConfig(thinking_budget=0),
    )
    answer = client.models.generate_content(model=LITE, contents="Is it bad?", config=config)
    assert answer.parsed == {"label": "bad"}


def test_stream(client: genai.Client) -> None:
    """Server-sent events, and the pieces add up."""
    pieces = list(client.models.generate_content_stream(model=LITE, contents="The yard is full."))
    assert len(pieces) == 4
    assert "".join(piece.text or "" for piece in pieces) == "[simulated] The yard is full."


def test_embeddings(client: genai.Client) -> None:
    """A vector a text, of the size asked for."""
    answer = client.models.embed_content(
        model="gemini-embedding-001",
        contents=[types.Content(parts=[types.Part(text=text)]) for text in ("one", "two")],
        config=types.EmbedContentConfig(output_dimensionality=768),
    )
    assert answer.embeddings is not None
    assert [len(embedding.values or []) for embedding in answer.embeddings] == [768, 768]
    whole = client.models.embed_content(model="gemini-embedding-001", contents="one")
    assert whole.embeddings is not None
    assert len(whole.embeddings[0].values or []) == 3072


def test_tokens_and_models(client: genai.Client) -> None:
    """countTokens, the list of models by pages, and one model."""
    assert client.models.count_tokens(model=LITE, contents="abcd" * 5).total_tokens == 5
    names = [model.name for model in client.models.list(config={"page_size": 5})]
    assert "models/gemini-2.5-pro" in names
    assert len(names) == len(set(names)) == 17
    assert client.models.get(model=LITE).input_token_limit == 1_048_576


def test_vertex_paths(server: SimServer) -> None:
    """The same models under publishers/google."""
    with client_of(server, vertexai=True) as client:
        answer = client.models.generate_content(model=LITE, contents="Hi.")
        assert answer.text == "[simulated] Hi."
        embedded = client.models.embed_content(model="gemini-embedding-001", contents="Hi.")
        assert embedded.embeddings is not None
        assert len(embedded.embeddings[0].values or []) == 3072
        with pytest.raises(errors.ClientError, match="Publisher Model"):
            client.models.generate_content(model="gemini-9", contents="Hi.")


# The SDK's own way of making its aiohttp session.
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_async_client(server: SimServer) -> None:
    """Fifty calls at a time through aiohttp; each prompt once."""

    async def run() -> None:
        async with client_of(server).aio as client:
            calls = [
                client.models.generate_content(model=LITE, contents=f"Prompt {number}.")
                for number in range(200)
            ]
            answers = await asyncio.gather(*calls)
        assert {answer.text for answer in answers} == {
            f"[simulated] Prompt {number}." for number in range(200)
        }

    asyncio.run(run())
    stats = server.stats()
    assert (stats["calls"], stats["prompts"], stats["calls_per_prompt_max"]) == (200, 200, 1)
    assert stats["succeeded_per_prompt_max"] == 1


@pytest.mark.parametrize(
    ("directive", "code", "status"),
    [
        ("400", 400, "INVALID_ARGUMENT"),
        ("401", 401, "UNAUTHENTICATED"),
        ("403", 403, "PERMISSION_DENIED"),
        ("404", 404, "NOT_FOUND"),
        ("429 retry=3s", 429, "RESOURCE_EXHAUSTED"),
        ("500", 500, "INTERNAL"),
        ("502", 502, "UNAVAILABLE"),
        ("503", 503, "UNAVAILABLE"),
        ("504", 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_errors_reach_the_sdk(client: genai.Client, directive: str, code: int, status: str) -> None:
    """Each as the SDK's own exception."""
    with pytest.raises(errors.APIError) as caught:
        client.models.generate_content(model=LITE, contents=f"[[sim: {directive}]]")
    assert (caught.value.code, caught.value.status) == (code, status)


def test_disconnect_breaks_the_connection(server: SimServer) -> None:
    """No byte comes back; the counters tell it from a client that hangs up."""
    with open_call(server, "[[sim: disconnect]]") as connection:
        assert connection.recv(1) == b""
    stats = server.stats()
    assert (stats["calls_by_status"], stats["disconnected"]) == ({"aborted": 1}, 0)


def test_a_client_that_hangs_up_is_counted(server: SimServer) -> None:
    """Its call counts from arrival, its success does not."""
    with open_call(server, "[[sim: hang]]"):
        wait_until(lambda: server.stats()["in_flight"] == 1, description="the call is in flight")
        assert server.stats()["prompts"] == 1
    wait_until(lambda: server.stats()["disconnected"] == 1, description="the hang-up is counted")
    stats = server.stats()
    assert (stats["calls"], stats["in_flight"], stats["succeeded"]) == (1, 0, 0)


def test_hanging_up_during_latency_is_counted(server: SimServer) -> None:
    """Also while the answer is on its way."""
    with open_call(server, "[[sim: latency=60s]]"):
        wait_until(lambda: server.stats()["in_flight"] == 1, description="the call is in flight")
    wait_until(lambda: server.stats()["disconnected"] == 1, description="the hang-up is counted")


def test_an_unfinished_body_is_counted(server: SimServer) -> None:
    """A client that dies while sending has made a call, though of no known prompt."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        path = f"/v1beta/models/{LITE}:generateContent"
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{{".encode()
        )
        wait_until(lambda: server.stats()["in_flight"] == 1, description="the call is in flight")
    wait_until(lambda: server.stats()["disconnected"] == 1, description="the hang-up is counted")
    assert server.stats()["prompts"] == 0


def test_latency_takes_time_and_no_cpu() -> None:
    """A hundred calls wait together; the process sleeps meanwhile."""
    with SimServer(SimConfig(latency_scale=0)) as server:
        calls = [open_call(server, f"{number} [[sim: latency=400ms]]") for number in range(100)]
        wait_until(lambda: server.stats()["in_flight"] == 100, description="all are in flight")
        before = time.process_time()
        wait_until(lambda: server.stats()["succeeded"] == 100, description="all are answered")
        assert time.process_time() - before < 0.35
        assert server.stats()["max_in_flight"] == 100
        for connection in calls:
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()


def test_a_large_body_arrives_whole(client: genai.Client, server: SimServer) -> None:
    """Five megabytes come in many pieces; only the start is read for the answer."""
    text = "The yard is full of trains. " * 180_000
    answer = client.models.count_tokens(model=LITE, contents=text)
    assert answer.total_tokens == len(text) // 4
    with pytest.raises(errors.ClientError, match="exceeds the maximum number of tokens"):
        client.models.generate_content(model=LITE, contents=text)
    assert server.stats()["calls"] == 2


def test_stats_over_http(server: SimServer, client: genai.Client) -> None:
    """The same numbers, without a key; reset starts anew."""
    client.models.generate_content(model=LITE, contents="Hi.")
    stats = get(f"{server.url}/stats?prompts=1")
    assert stats["by_prompt"] == {prompt_key("Hi."): {"calls": 1, "succeeded": 1}}
    assert "by_prompt" not in get(f"{server.url}/stats")
    assert get(f"{server.url}/stats/reset", "POST") == {"reset": True}
    assert get(f"{server.url}/stats")["calls"] == 0
    assert get(f"{server.url}/healthz")["status"] == "ok"


def test_key_check_of_the_real_api() -> None:
    """A wrong key is 400 API_KEY_INVALID; the list of models asks for it too."""
    with SimServer(SimConfig(latency_scale=0, api_key="right")) as server:
        with client_of(server, api_key="right") as client:
            assert client.models.generate_content(model=LITE, contents="Hi.").text
        with client_of(server, api_key="wrong") as client:
            with pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
                client.models.generate_content(model=LITE, contents="Hi.")
            with pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
                list(client.models.list())
        assert get(f"{server.url}/v1beta/models?key=right")["models"]


def test_quota_over_http() -> None:
    """RetryInfo and quota id as the SDK hands them on."""
    with SimServer(SimConfig(latency_scale=0, rpm={"*": 1})) as server, client_of(server) as client:
        client.models.generate_content(model=LITE, contents="Hi.")
        with pytest.raises(errors.ClientError) as caught:
            client.models.generate_content(model=LITE, contents="Hi.")
    details = caught.value.details["error"]["details"]
    quota_id = details[0]["violations"][0]["quotaId"]
    assert quota_id == "GenerateRequestsPerMinutePerProjectPerModel"
    assert details[2]["retryDelay"] in ("58s", "59s")


def test_stops_at_once_with_hanging_calls() -> None:
    """The thread ends although a call hangs."""
    with SimServer(SimConfig(latency_scale=0)) as server:
        hanging = open_call(server, "[[sim: hang]]")
        wait_until(lambda: server.stats()["in_flight"] == 1, description="the call is in flight")
        before = time.monotonic()
    assert time.monotonic() - before < 2
    hanging.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_announces_itself_and_ends_cleanly(number: signal.Signals) -> None:
    """One line with the two variables; exit code 0 at a signal, even with a hanging call."""
    argv = [sys.executable, "-m", "promptyard_worker.sim", "--port", "0", "--latency-scale", "0"]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(
            r"GOOGLE_GEMINI_BASE_URL=(http://127\.0\.0\.1:(\d+)) GEMINI_API_KEY=", line
        )
        assert found is not None, line
        body = json.dumps({"contents": [{"parts": [{"text": "[[sim: hang]]"}]}]}).encode()
        with socket.create_connection(("127.0.0.1", int(found[2])), timeout=5) as connection:
            head = f"POST /v1/models/{LITE}:generateContent HTTP/1.1\r\nhost: x\r\ncontent-length: "
            connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
            wait_until(lambda: get(f"{found[1]}/stats")["in_flight"] == 1, description="in flight")
            process.send_signal(number)
            rest, complaints = process.communicate(timeout=5)
    assert (process.returncode, rest, complaints) == (0, "", "")


def test_port_in_use_is_one_sentence(server: SimServer) -> None:
    """The error names the address and the way out."""
    with pytest.raises(StackError, match=f"127.0.0.1:{server.port}.*--port"):
        serve(SimConfig(), port=server.port)


def test_command_refuses_unknown_values() -> None:
    """Exit code 2, and a message that names what is wrong."""
    app = typer.Typer()
    app.command()(sim)
    result = CliRunner().invoke(app, ["--rpm", "gemini-9=5"])
    assert result.exit_code == 2
    assert "gemini-9" in result.output


def test_access_log_has_neither_prompt_nor_key(caplog: pytest.LogCaptureFixture) -> None:
    """Model, method, status and the prompt's hash."""
    config = SimConfig(latency_scale=0, access_log=True)
    with caplog.at_level("INFO", "promptyard.sim"), SimServer(config) as server:
        body = json.dumps({"contents": {"parts": {"text": "secret words"}}}).encode()
        url = f"{server.url}/v1beta/models/{LITE}:generateContent?key=hush"
        with urlopen(Request(url, data=body), timeout=5) as answer:
            assert answer.status == 200
    assert f"{LITE}:generateContent 200 prompt={prompt_key('secret words')}" in caplog.text
    assert "secret" not in caplog.text
    assert "hush" not in caplog.text
