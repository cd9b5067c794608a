"""classify_exception: every way a call can fail, and what it means."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
from google.auth import exceptions as auth_errors
from google.genai import types
from google.genai.errors import ClientError, ServerError, UnknownApiResponseError
from pydantic import ValidationError

from promptyard.job import ErrorType
from promptyard_worker.gemini import classify_exception
from tests.unit.api_errors import api_error, retry_info


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        (400, ErrorType.INVALID_REQUEST, False),
        (401, ErrorType.UNAUTHENTICATED, False),
        (403, ErrorType.UNAUTHENTICATED, False),
        (404, ErrorType.MODEL_UNAVAILABLE, False),
        (408, ErrorType.TIMEOUT, True),
        (413, ErrorType.INVALID_REQUEST, False),
        (429, ErrorType.QUOTA_EXCEEDED, True),
        (499, ErrorType.SERVER_ERROR, True),
        (500, ErrorType.SERVER_ERROR, True),
        (503, ErrorType.SERVER_ERROR, True),
        (504, ErrorType.SERVER_ERROR, True),
    ],
)
def test_codes(code: int, kind: ErrorType, retryable: bool) -> None:
    """Each HTTP code, and the server's words."""
    failure = classify_exception(api_error(code))
    assert failure.error.type is kind
    assert failure.retryable is retryable
    assert failure.error.message == f"{code} S: said"
    assert failure.retry_after_s is None
    assert failure.needed_tokens is None


def test_a_body_that_did_not_call_itself_json_is_read_all_the_same() -> None:
    """The SDK leaves such a body as text in ``message``."""
    inner = {
        "error": {
            "code": 429,
            "message": "slow down",
            "status": "RESOURCE_EXHAUSTED",
            "details": [retry_info("2s")],
        }
    }
    error = ClientError(429, {"message": json.dumps(inner), "status": "Too Many Requests"}, None)
    failure = classify_exception(error)
    assert failure.retry_after_s == 2.0
    assert failure.error.message == "429 RESOURCE_EXHAUSTED: slow down"


def test_a_proxys_page_does_not_become_the_message() -> None:
    """HTML is no sentence."""
    error = ServerError(502, {"message": "<html>bad</html>", "status": "Bad Gateway"}, None)
    assert classify_exception(error).error.message == "502 Bad Gateway"


@pytest.mark.parametrize("details", [None, [], "text", {"error": "text"}, {"message": None}])
def test_strange_bodies_do_not_crash(details: Any) -> None:
    """Whatever the body is, the code decides."""
    error = api_error(500)
    error.details = details
    assert classify_exception(error).error.type is ErrorType.SERVER_ERROR


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), ErrorType.TIMEOUT),
        (aiohttp.ServerTimeoutError(), ErrorType.TIMEOUT),
        (httpx.ReadTimeout("slow"), ErrorType.TIMEOUT),
        (httpx2.ReadTimeout("slow"), ErrorType.TIMEOUT),
        (httpx2.PoolTimeout("full"), ErrorType.TIMEOUT),
        (aiohttp.ServerDisconnectedError(), ErrorType.CONNECTION),
        (aiohttp.ClientPayloadError("cut"), ErrorType.CONNECTION),
        (aiohttp.ClientOSError(104, "reset"), ErrorType.CONNECTION),
        (httpx.ConnectError("refused"), ErrorType.CONNECTION),
        (httpx2.ConnectError("refused"), ErrorType.CONNECTION),
        (httpx2.RemoteProtocolError("cut"), ErrorType.CONNECTION),
        (httpx2.DecodingError("cut"), ErrorType.CONNECTION),
        (ConnectionResetError(), ErrorType.CONNECTION),
        (auth_errors.TransportError("x"), ErrorType.CONNECTION),  # type: ignore[no-untyped-call]
        (UnknownApiResponseError("no JSON"), ErrorType.SERVER_ERROR),
        (json.JSONDecodeError("no", "doc", 0), ErrorType.SERVER_ERROR),
    ],
)
def test_no_answer_is_retryable(error: Exception, kind: ErrorType) -> None:
    """Timeouts, broken connections and unreadable answers."""
    failure = classify_exception(error)
    assert failure.error.type is kind
    assert failure.retryable


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.InvalidURL("x"),
        httpx2.InvalidURL("x"),
        httpx2.UnsupportedProtocol("x"),
        httpx.UnsupportedProtocol("x"),
    ],
)
def test_a_base_url_that_is_none_is_internal(error: Exception) -> None:
    """Trying again would not help: it is a setting."""
    failure = classify_exception(error)
    assert (failure.error.type, failure.retryable) == (ErrorType.INTERNAL, False)
    assert "base URL" in failure.error.message


def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    """httpx2 quotes it, and it may be the key."""
    error = httpx2.LocalProtocolError("Illegal header value b'my-secret-key\\n'")
    failure = classify_exception(error)
    assert failure.error.type is ErrorType.INTERNAL
    assert "my-secret-key" not in failure.error.message
    assert "API key" in failure.error.message


def test_httpx_need_not_be_installed() -> None:
    """google-genai brings httpx2 only; a class of the same name elsewhere is none of theirs."""
    code = (
        "import sys; sys.modules['httpx'] = None; import httpx2; "
        "from promptyard_worker.gemini.taxonomy import classify_exception; "
        "print(classify_exception(httpx2.ReadTimeout('slow')).error.type)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "timeout\n"
    stranger = type("ReadTimeout", (type("TimeoutException", (Exception,), {}),), {})
    assert classify_exception(stranger("x")).error.type is ErrorType.INTERNAL


def test_no_google_login_is_unauthenticated() -> None:
    """Vertex AI without Application Default Credentials."""
    error = auth_errors.DefaultCredentialsError("none")  # type: ignore[no-untyped-call]
    failure = classify_exception(error)
    assert failure.error.type is ErrorType.UNAUTHENTICATED
    assert not failure.retryable


def test_a_request_that_cannot_be_built_is_invalid() -> None:
    """The place is named, the value (it may be the prompt) is not."""
    with pytest.raises(ValidationError) as caught:
        types.GenerateContentConfig.model_validate({"temperature": "my secret prompt"})
    failure = classify_exception(caught.value)
    assert failure.error.type is ErrorType.INVALID_REQUEST
    assert not failure.retryable
    assert "temperature" in failure.error.message
    assert "my secret prompt" not in failure.error.message


def test_an_unknown_exception_is_internal_and_says_where() -> None:
    """Type and place, not its text."""
    try:
        {}["my secret prompt"]  # type: ignore[index]
    except KeyError as error:
        failure = classify_exception(error)
    assert failure.error.type is ErrorType.INTERNAL
    assert not failure.retryable
    assert "KeyError at" in failure.error.message
    assert "secret" not in failure.error.message


def test_keys_never_reach_the_message() -> None:
    """The server quotes the key in some of its errors."""
    key = "AIzaSyA1234567890abcdefghijklmnopqrstuv"
    text = f"Consumer 'api_key:{key}' suspended; ?key={key}&x=1; Bearer ya29.a0Af_secret"
    message = classify_exception(api_error(403, text)).error.message
    assert key not in message
    assert "a0Af" not in message
    assert "suspended" in message


def test_long_messages_are_cut() -> None:
    """A record stays small."""
    assert len(classify_exception(api_error(400, "x" * 9000)).error.message) <= 500
