"""GeminiClient over real HTTP: the real google-genai against a raw server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from google import genai
from google.genai import types

from promptyard.job import Decision, ErrorType, Job
from promptyard.names import Tier
from promptyard_worker.gemini import Answer, Credentials, GeminiClient, classify_exception
from promptyard_worker.gemini.taxonomy import CallFailure

MODEL = "gemini-2.5-flash"
DECISION = Decision(
    stage="semantic", tier=Tier.FLASH, model=MODEL, thinking_budget=0, policy_version="v"
)
ANSWER: dict[str, Any] = {
    "candidates": [{"content": {"parts": [{"text": "Hello."}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3},
    "modelVersion": "gemini-2.5-flash-001",
}

DROP = "drop"
HANG = "hang"
Reply = tuple[int, dict[str, Any]] | str | bytes


class Loopback:
    """A server of a few lines that counts calls and says what it is told to say."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.connections = 0
        self.handlers: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task that the end of the test can cancel."""
        task = asyncio.get_running_loop().create_task(self.serve(reader, writer))
        self.handlers.add(task)

    @property
    def calls(self) -> int:
        """Requests that have arrived."""
        return len(self.paths)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until either side closes."""
        self.connections += 1
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
        self.paths.append(head[0].split(" ")[1])
        self.headers.append(headers)
        self.bodies.append(json.loads(await reader.readexactly(int(headers["content-length"]))))
        if self.reply == DROP:
            return False
        if self.reply == HANG:
            await asyncio.sleep(3)
            return False
        if isinstance(self.reply, bytes):
            status, body = 200, self.reply
        else:
            assert isinstance(self.reply, tuple)
            status, body = self.reply[0], json.dumps(self.reply[1]).encode()
        length = f"Content-Length: {len(body)}".encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status)
        writer.write(length + b"\r\n\r\n" + body)
        await writer.drain()
        return True


def with_server(reply: Reply, use: Callable[[Loopback, str], Awaitable[None]]) -> Loopback:
    """Run ``use(server, base_url)`` against a fresh server."""
    loopback = Loopback(reply)

    async def main() -> None:
        server = await asyncio.start_server(loopback.accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await use(loopback, f"http://127.0.0.1:{port}")
        finally:
            server.close()
            for task in loopback.handlers:
                task.cancel()
            await asyncio.gather(*loopback.handlers, return_exceptions=True)

    asyncio.run(main())
    return loopback


def call(
    reply: Reply, job: Job, decision: Decision = DECISION, timeout_s: float = 5.0
) -> tuple[Loopback, Answer | CallFailure]:
    """One generate against a server that always gives ``reply``."""
    results: list[Answer | CallFailure] = []

    async def use(_: Loopback, base_url: str) -> None:
        credentials = Credentials(api_key="test-key-123")
        async with GeminiClient(
            concurrency=2, credentials=credentials, base_url=base_url
        ) as client:
            try:
                results.append(
                    await client.generate(job, decision, model=MODEL, timeout_s=timeout_s)
                )
            except Exception as error:
                results.append(classify_exception(error))

    return with_server(reply, use), results[0]


def answer_of(result: Answer | CallFailure) -> Answer:
    """The result, which must be an answer."""
    assert isinstance(result, Answer), result
    return result


def failure_of(result: Answer | CallFailure) -> CallFailure:
    """The result, which must be a failure."""
    assert isinstance(result, CallFailure), result
    return result


def test_an_answer_comes_back_with_usage_and_model_version() -> None:
    """The plain way: text, tokens, version, and the key only in its header."""
    server, result = call((200, ANSWER), Job(contents="Say hello."))
    answer = answer_of(result)
    assert answer.text == "Hello."
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.thinking_tokens == 3
    assert answer.model_version == "gemini-2.5-flash-001"
    assert server.paths[0].endswith(f"/models/{MODEL}:generateContent")
    assert server.headers[0]["x-goog-api-key"] == "test-key-123"
    # The SDK leaves nested names in snake_case; the API reads both.
    assert server.bodies[0]["generationConfig"] == {"thinkingConfig": {"thinking_budget": 0}}


def test_a_dropped_connection_is_one_call() -> None:
    """The prompt may have been processed: the SDK must not send it again by itself."""
    started = time.monotonic()
    server, result = call(DROP, Job(contents="Once."))
    assert server.calls == 1
    assert time.monotonic() - started < 1  # the SDK's implicit retry would sleep 1-10 s
    failure = failure_of(result)
    assert failure.error.type is ErrorType.CONNECTION
    assert failure.retryable


@pytest.mark.parametrize("code", [408, 429, 500, 503, 504])
def test_an_error_answer_is_one_call(code: int) -> None:
    """None of the codes that the SDK would retry is retried."""
    body = {"error": {"code": code, "message": "later", "status": "X"}}
    server, result = call((code, body), Job(contents="Once."))
    assert server.calls == 1
    assert failure_of(result).retryable


def test_a_continuation_token_is_not_followed() -> None:
    """Continuations would be calls that no quota has seen."""
    candidate = {
        "content": {"parts": [{"text": "part"}]},
        "finishReason": "CONTINUATION",
        "continuationToken": base64.b64encode(b"t").decode(),
    }
    server, result = call((200, {"candidates": [candidate]}), Job(contents="Once."))
    assert server.calls == 1
    assert answer_of(result).finish_reason == "CONTINUATION"


def test_a_slow_answer_times_out() -> None:
    """``timeout_s`` holds; the server is told at least the 10 s that the API accepts."""
    started = time.monotonic()
    server, result = call(HANG, Job(contents="Slow."), timeout_s=0.2)
    assert time.monotonic() - started < 2
    assert failure_of(result).error.type is ErrorType.TIMEOUT
    assert server.headers[0]["x-server-timeout"] == "10"


def test_a_refused_connection_is_a_connection_failure() -> None:
    """Nobody listens: retryable, and quick."""

    async def main() -> CallFailure:
        client = GeminiClient(
            concurrency=1, credentials=Credentials(api_key="k"), base_url="http://127.0.0.1:9"
        )
        async with client:
            try:
                await client.generate(Job(contents="x"), DECISION, model=MODEL, timeout_s=2)
            except Exception as error:
                return classify_exception(error)
        raise AssertionError("no error")

    failure = asyncio.run(main())
    assert failure.error.type is ErrorType.CONNECTION
    assert failure.retryable


def test_a_body_that_is_no_json_is_the_servers_fault() -> None:
    """A cut or foreign body is a server error, to be tried again."""
    _, result = call(b'{"candidates": [', Job(contents="x"))
    failure = failure_of(result)
    assert failure.error.type is ErrorType.SERVER_ERROR
    assert failure.retryable


def test_the_job_cannot_redirect_the_call() -> None:
    """``http_options`` in a job would send the API key to any host: refused, no call."""
    job = Job(contents="x", config={"httpOptions": {"baseUrl": "http://127.0.0.1:9"}})
    server, result = call((200, ANSWER), job)
    assert server.calls == 0
    failure = failure_of(result)
    assert failure.error.type is ErrorType.INVALID_REQUEST
    assert "http_options" in failure.error.message


def test_inline_data_is_encoded_once() -> None:
    """Base64 of a part arrives as it was given, not encoded a second time."""
    data = base64.b64encode(bytes(range(256))).decode()
    turn = {
        "parts": [{"text": "What is it?"}, {"inlineData": {"mimeType": "image/png", "data": data}}]
    }
    server, result = call((200, ANSWER), Job.model_validate({"contents": [turn]}))
    answer_of(result)
    (sent,) = server.bodies[0]["contents"]
    assert sent["parts"][0] == {"text": "What is it?"}
    # The SDK writes the URL-safe alphabet, which the API reads as well.
    assert base64.urlsafe_b64decode(sent["parts"][1]["inlineData"]["data"]) == bytes(range(256))


def test_many_calls_share_the_connections() -> None:
    """Keep-alive: no more connections than the concurrency."""

    async def use(server: Loopback, base_url: str) -> None:
        credentials = Credentials(api_key="k")
        async with GeminiClient(
            concurrency=4, credentials=credentials, base_url=base_url
        ) as client:
            await asyncio.gather(
                *(
                    client.generate(Job(contents=f"{i}"), DECISION, model=MODEL, timeout_s=5)
                    for i in range(40)
                )
            )

    server = with_server((200, ANSWER), use)
    assert server.calls == 40
    assert server.connections <= 4


def test_the_base_url_of_the_environment_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """GOOGLE_GEMINI_BASE_URL and GEMINI_API_KEY mean what they mean to the SDK."""

    async def use(server: Loopback, base_url: str) -> None:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", base_url)
        monkeypatch.setenv("GEMINI_API_KEY", "from-env")
        monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
        async with GeminiClient(concurrency=1) as client:
            await client.generate(Job(contents="x"), DECISION, model=MODEL, timeout_s=5)

    server = with_server((200, ANSWER), use)
    assert server.headers[0]["x-goog-api-key"] == "from-env"


def test_the_fast_config_sends_the_same_body_as_the_sdks_own() -> None:
    """``request._Config`` changes the CPU, not the wire."""
    config: dict[str, Any] = {
        "temperature": 0.3,
        "topP": 0.9,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "description": "d"}]}],
        "responseMimeType": "text/plain",
        "seed": 7,
    }

    async def use(server: Loopback, base_url: str) -> None:
        credentials = Credentials(api_key="k")
        job = Job(contents="Hi.", system_instruction="Be brief.", config=config)
        async with GeminiClient(
            concurrency=1, credentials=credentials, base_url=base_url
        ) as client:
            await client.generate(job, DECISION, model=MODEL, timeout_s=5)
        session = aiohttp.ClientSession()
        own = genai.Client(
            api_key="k",
            http_options=types.HttpOptions(base_url=base_url, aiohttp_client=session),
        )
        plain = types.GenerateContentConfig.model_validate(config)
        plain.system_instruction = "Be brief."
        plain.thinking_config = types.ThinkingConfig(thinking_budget=0)
        plain.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
        await own.aio.models.generate_content(model=MODEL, contents="Hi.", config=plain)
        await own.aio.aclose()
        own.close()
        await session.close()

    server = with_server((200, ANSWER), use)
    assert server.calls == 2
    assert server.bodies[0] == server.bodies[1]


def test_a_schema_goes_out_and_json_comes_back() -> None:
    """``response_schema`` is asked as JSON Schema, and the text is parsed."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    reply = {"candidates": [{"content": {"parts": [{"text": '{"city": "Bonn"}'}]}}]}
    server, result = call((200, reply), Job(contents="Where?", response_schema=schema))
    assert answer_of(result).parsed == {"city": "Bonn"}
    sent = server.bodies[0]["generationConfig"]
    assert sent["responseMimeType"] == "application/json"
    assert sent["responseJsonSchema"] == schema
