"""What the stand-in refuses, as the real SDK raises it and classify_exception reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from google.genai import types

from promptyard.job import Decision, ErrorType, Job
from promptyard.names import Tier
from promptyard_worker.gemini import CallFailure, Credentials, GeminiClient, classify_exception
from promptyard_worker.gemini.blocking import blocking_client
from promptyard_worker.gemini.taxonomy import QuotaKind
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer

LITE, FLASH, PRO = "gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-pro"
DECISION = Decision(stage="rules", tier=Tier.LITE, model=LITE, policy_version="v")
KEY = Credentials(api_key="test-key-123")


@pytest.fixture(scope="module")
def server() -> Iterator[SimServer]:
    """A stand-in with a small window, a spent minute and a spent day."""
    config = SimConfig(
        latency_scale=0, context_tokens={LITE: 100}, rpm={FLASH: 0}, rpd={FLASH: 0}, tpm={PRO: 5}
    )
    with SimServer(config) as found:
        yield found


def failure_of(server: SimServer, prompt: str, *, model: str = LITE) -> CallFailure:
    """What one call of the worker's client ends in."""

    async def main() -> CallFailure:
        async with GeminiClient(concurrency=1, credentials=KEY, base_url=server.url) as client:
            try:
                await client.generate(Job(contents=prompt), DECISION, model=model, timeout_s=5)
            except Exception as error:
                return classify_exception(error)
        raise AssertionError("it was answered")

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("directive", "quota", "retry_after_s"),
    [
        ("429", QuotaKind.UNNAMED, None),
        ("429 retry=2.5s", QuotaKind.REQUESTS_PER_MINUTE, 2.5),
        ("429 quota=tpm retry=900ms", QuotaKind.TOKENS_PER_MINUTE, 0.9),
        ("429 quota=rpd retry=40s", QuotaKind.REQUESTS_PER_DAY, 40.0),
    ],
)
def test_a_429_names_quota_and_wait(
    server: SimServer, directive: str, quota: QuotaKind, retry_after_s: float | None
) -> None:
    """To the fraction of a second that RetryInfo leaves out."""
    failure = failure_of(server, f"[[sim: {directive}]]")
    assert failure.error.type is ErrorType.QUOTA_EXCEEDED
    assert (failure.quota, failure.retry_after_s) == (quota, retry_after_s)


def test_of_several_quotas_the_day_wins(server: SimServer) -> None:
    """A minute and a day are spent: no minute's wait will help."""
    failure = failure_of(server, "a", model=FLASH)
    assert failure.quota is QuotaKind.REQUESTS_PER_DAY
    assert failure.retry_after_s is not None
    assert failure.retry_after_s > 0


def test_a_minute_of_tokens(server: SimServer) -> None:
    """The quota counts the prompt, not the call."""
    assert failure_of(server, "word " * 20, model=PRO).quota is QuotaKind.TOKENS_PER_MINUTE


def test_a_prompt_that_is_too_long_says_what_it_counts(server: SimServer) -> None:
    """So that a model with room for it can be found."""
    failure = failure_of(server, "word " * 100)
    assert failure.error.type is ErrorType.CONTEXT_TOO_LONG
    assert failure.needed_tokens == 125


@pytest.mark.parametrize(
    ("directive", "kind"),
    [
        ("403", ErrorType.UNAUTHENTICATED),
        ("403 model", ErrorType.MODEL_UNAVAILABLE),
        ("404", ErrorType.MODEL_UNAVAILABLE),
        ("400", ErrorType.INVALID_REQUEST),
    ],
)
def test_refusals_tell_whom_they_are_about(
    server: SimServer, directive: str, kind: ErrorType
) -> None:
    """The key, the model or the job."""
    failure = failure_of(server, f"[[sim: {directive}]]")
    assert (failure.error.type, failure.retryable) == (kind, False)


def test_a_403_of_a_model_on_vertex(server: SimServer) -> None:
    """There ``ErrorInfo`` names the model; the path is Vertex AI's, the key a Gemini one."""
    vertex = Credentials(api_key="test-key-123", vertexai=True)
    with (
        blocking_client(credentials=vertex, base_url=server.url) as client,
        pytest.raises(Exception, match="publishers/google/models") as caught,
    ):
        client.models.generate_content(model=LITE, contents="[[sim: 403 model]]")
    assert classify_exception(caught.value).error.type is ErrorType.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    ("directive", "timeout_ms", "kind"),
    [("disconnect", 5000, ErrorType.CONNECTION), ("hang", 200, ErrorType.TIMEOUT)],
)
def test_the_blocking_client_fails_alike(
    server: SimServer, directive: str, timeout_ms: int, kind: ErrorType
) -> None:
    """It sends by httpx2, whose exceptions are its own."""
    config = types.GenerateContentConfig(http_options=types.HttpOptions(timeout=timeout_ms))
    with (
        blocking_client(credentials=KEY, base_url=server.url) as client,
        pytest.raises(Exception) as caught,  # noqa: PT011 - whichever: that is the question
    ):
        client.models.generate_content(model=LITE, contents=f"[[sim: {directive}]]", config=config)
    failure = classify_exception(caught.value)
    assert type(caught.value).__module__ == "httpx2"
    assert (failure.error.type, failure.retryable) == (kind, True)
