"""What a failed embedding call means: one exception in, one failure out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.genai.errors import APIError, UnknownApiResponseError

#: Longest part of the server's words that is repeated, in characters.
_MOST_CHARS: Final = 300
_SECRETS: Final = re.compile(
    r"AIza[\w\-]{8,}|AQ\.[\w\-]{8,}|ya29\.[\w\-.]+|(?<=[?&]key=)[^&\s'\"]+"
)
#: Beside 5xx: 408 and 504 took too long, 409 and 499 were broken off by the server.
_TRANSIENT: Final = frozenset({408, 409, 429, 499})

_KEY: Final = "Check GEMINI_API_KEY, or the rights of the Google Cloud project."
_NAME: Final = "Correct encoder.name and encoder.dimensions in the router file."
_LATER: Final = (
    "The prompts wait and are routed later; if it goes on, raise the quota of the embedding "
    "model, set encoder.texts_per_minute below it, or name another encoder."
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call, in a form to act on."""

    message: str
    remedy: str
    #: Whether the same call may succeed in a moment.
    retryable: bool = False
    #: Whether the contents are to blame, not the server, the key or the model.
    refused: bool = False
    #: How long the server asked to wait, in seconds.
    retry_after_s: float = 0.0


def read_failure(exc: Exception) -> Failure | None:
    """Say what an exception of ``embed_content`` means; None for a bug."""
    if isinstance(exc, APIError):
        return _of_answer(exc)
    name = type(exc).__name__
    # Bodies that are no JSON: cut off, or a proxy's page.
    if isinstance(exc, UnknownApiResponseError | json.JSONDecodeError | UnicodeDecodeError):
        return Failure(f"an answer that is no JSON ({name})", _LATER, retryable=True)
    # By name: the SDK sends by httpx2, httpx or requests, whichever is installed, and each
    # has a TransportError of its own, as google.auth has; requests' errors are OSErrors.
    parents = {parent.__name__ for parent in type(exc).__mro__}
    if "TransportError" in parents or isinstance(exc, OSError):
        return Failure(f"the connection failed ({name})", _LATER, retryable=True)
    if "GoogleAuthError" in parents:
        return Failure(f"Google refused the credentials ({name})", _KEY)
    return None


def _of_answer(exc: APIError) -> Failure:
    """The server answered with an error."""
    body = exc.details if isinstance(exc.details, dict) else {}
    error = body.get("error")
    error = error if isinstance(error, dict) else body
    details = [item for item in error.get("details") or [] if isinstance(item, dict)]
    words = " ".join(str(error.get("message") or "").split())
    words = _SECRETS.sub("[secret]", words)[:_MOST_CHARS]
    head = " ".join(str(part) for part in (exc.code, exc.status) if part)
    message = f"{head}: {words}" if words and not words.startswith("<") else head
    code = exc.code if isinstance(exc.code, int) else 500
    if code in _TRANSIENT or code >= 500:
        return Failure(message, _LATER, retryable=True, retry_after_s=_retry_after_s(details))
    if code in (401, 403) or any(item.get("reason") == "API_KEY_INVALID" for item in details):
        return Failure(message, _KEY)
    if code == 404:
        return Failure(message, _NAME)
    return Failure(message, _NAME, refused=True)


def _retry_after_s(details: list[dict[str, Any]]) -> float:
    """Seconds from ``google.rpc.RetryInfo``; 0 without."""
    for item in details:
        if str(item.get("@type", "")).endswith("google.rpc.RetryInfo"):
            return _seconds(item)
    return 0.0


def _seconds(retry_info: Mapping[str, Any]) -> float:
    text = str(retry_info.get("retryDelay", "")).removesuffix("s")
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0
