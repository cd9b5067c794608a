"""What a failed embedding call means, and how long is waited for the next."""

from __future__ import annotations

import json
from typing import Any

import httpx
import httpx2
import pytest
from google.auth.exceptions import RefreshError
from google.auth.exceptions import TransportError as GoogleTransportError
from google.genai.errors import APIError

from promptyard_worker.routing.encoders.failure import Failure, read_failure
from promptyard_worker.routing.encoders.patience import Pace, Patience, Timing, delay_s

RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


def failure(code: int, body: Any) -> Failure:
    """What an answer with this status and body means."""
    found = read_failure(APIError(code, body))
    assert found is not None
    return found


def error(message: str, **more: Any) -> dict[str, Any]:
    """A body as Google writes it."""
    return {"error": {"message": message, "status": "S", **more}}


@pytest.mark.parametrize("code", [408, 409, 429, 499, 500, 502, 503, 504])
def test_what_passes_is_tried_again(code: int) -> None:
    """Quota, overload, timeouts, breaks of the server."""
    found = failure(code, error("busy"))
    assert (found.retryable, found.refused) == (True, False)
    assert found.message == f"{code} S: busy"


@pytest.mark.parametrize("code", [400, 413, 422])
def test_what_the_server_does_not_take_is_refused(code: int) -> None:
    """The contents are to blame: they are not sent again."""
    found = failure(code, error("no"))
    assert (found.retryable, found.refused) == (False, True)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_keys_and_models_are_the_operators(code: int) -> None:
    """Neither passing, nor the fault of a prompt."""
    found = failure(code, error("no"))
    assert (found.retryable, found.refused) == (False, False)


def test_a_wrong_key_comes_as_400() -> None:
    """The API calls it an invalid argument; the details tell."""
    found = failure(400, error("no", details=[{"reason": "API_KEY_INVALID"}, "odd"]))
    assert not found.refused
    assert "GEMINI_API_KEY" in found.remedy


@pytest.mark.parametrize(
    ("delay", "seconds"), [("17s", 17.0), ("0.5s", 0.5), ("soon", 0.0), (None, 0.0)]
)
def test_retry_info_is_read(delay: str | None, seconds: float) -> None:
    """Or is 0 where it is not understood."""
    details = [{"@type": RETRY_INFO, "retryDelay": delay}]
    assert failure(429, error("busy", details=details)).retry_after_s == seconds


@pytest.mark.parametrize("body", [[], "text", {"message": "<html>Bad</html>"}, {"error": "odd"}])
def test_bodies_of_other_shapes_are_survived(body: Any) -> None:
    """A proxy's page says nothing that helps."""
    found = failure(502, body)
    assert found.retryable
    assert "html" not in found.message


def test_secrets_are_not_repeated() -> None:
    """Whatever the server quotes; nor is it repeated at length."""
    found = failure(400, error("key AIzaSyA1234567890 in ?key=abc&x " + "long " * 500))
    assert "AIza" not in found.message
    assert "abc" not in found.message
    assert len(found.message) < 400


@pytest.mark.parametrize(
    "exc",
    [
        httpx2.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        GoogleTransportError("no"),  # type: ignore[no-untyped-call]
        ConnectionResetError(),
        TimeoutError(),
        json.JSONDecodeError("cut", "{", 1),
    ],
)
def test_broken_connections_are_tried_again(exc: Exception) -> None:
    """Of whichever library the SDK sends by."""
    found = read_failure(exc)
    assert found is not None
    assert found.retryable


def test_a_refused_login_is_the_operators() -> None:
    """Of Vertex AI."""
    found = read_failure(RefreshError("expired"))  # type: ignore[no-untyped-call]
    assert found is not None
    assert not found.retryable


def test_a_bug_is_not_explained_away() -> None:
    """It stays the exception that it is."""
    assert read_failure(KeyError("x")) is None


def test_waits_grow_and_honour_the_server() -> None:
    """Full jitter on top of what was asked."""
    assert all(0 <= delay_s(1, 0) <= 0.5 for _ in range(50))
    assert all(9 <= delay_s(4, 9) <= 13 for _ in range(50))
    assert max(delay_s(4, 0) for _ in range(200)) > 1


def test_patience_ends_before_it_is_overdrawn() -> None:
    """A wait that is too long is not begun."""
    slept: list[float] = []
    patience = Patience(10, Timing(clock=lambda: sum(slept), sleep=slept.append))
    assert patience.wait(6)
    assert not patience.wait(5)
    assert patience.wait(4)
    assert slept == [6, 4]


def test_a_pace_is_a_rolling_minute() -> None:
    """What was sent a minute ago makes room; what never fits is not promised."""
    now_s = [0.0]
    pace = Pace(10, Timing(clock=lambda: now_s[0]))
    assert pace.take(6) == 0
    now_s[0] = 20
    assert pace.take(4) == 0
    assert pace.take(1) == 40
    now_s[0] = 60
    assert pace.take(6) == 0
    assert pace.take(1) == 20
    now_s[0] = 500
    assert pace.take(11) == 60
