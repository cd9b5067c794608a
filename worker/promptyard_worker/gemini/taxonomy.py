"""What a failed call means: one exception in, one typed failure out.

| it raised | type | retryable |
|---|---|---|
| 429 | quota_exceeded | yes, after the server's RetryInfo |
| 408, our own timeout | timeout | yes |
| 409, 499, 5xx, a body that is no JSON | server_error | yes |
| the connection failed or broke | connection | yes |
| 401, 403, 400 with API_KEY_INVALID, no Google login | unauthenticated | no |
| 404 | model_unavailable | no |
| other 4xx, a request that could not be built | invalid_request | no |
| anything else | internal | no |

Codes: https://ai.google.dev/gemini-api/docs/troubleshooting. Messages carry what the
server said, never a key, and nothing of the prompt that the server did not quote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
from google.auth import exceptions as auth_errors
from google.genai.errors import APIError, UnknownApiResponseError
from pydantic import ValidationError

from promptyard.job import ErrorType, JobError

#: Longest message that goes on record, in characters.
_MAX_MESSAGE = 500

#: API keys, OAuth tokens and anything that calls itself one.
_SECRETS = re.compile(
    r"AIza[\w\-]{8,}|AQ\.[\w\-]{8,}|ya29\.[\w\-.]+"
    r"|(?<=Bearer )\S+|(?<=api_key:)[\w\-.]+|(?<=[?&]key=)[^&\s'\"]+"
)

_RETRYABLE = frozenset(
    {ErrorType.QUOTA_EXCEEDED, ErrorType.TIMEOUT, ErrorType.SERVER_ERROR, ErrorType.CONNECTION}
)

_BY_CODE = {
    401: ErrorType.UNAUTHENTICATED,
    403: ErrorType.UNAUTHENTICATED,
    404: ErrorType.MODEL_UNAVAILABLE,
    408: ErrorType.TIMEOUT,
    409: ErrorType.SERVER_ERROR,  # ABORTED: try again
    429: ErrorType.QUOTA_EXCEEDED,
    499: ErrorType.SERVER_ERROR,  # CANCELLED on the server's side; ours never reach us
}

_CONNECTION = (aiohttp.ClientError, httpx.TransportError, auth_errors.TransportError, OSError)


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A failed call, in a form to act on."""

    error: JobError
    #: Whether the same call may succeed later.
    retryable: bool
    #: How long the server asked to wait, in seconds; None if it did not say.
    retry_after_s: float | None = None


def classify_exception(exc: BaseException) -> CallFailure:
    """Say what an exception of ``GeminiClient.generate`` means."""
    if isinstance(exc, APIError):
        return _classify_answer(exc)
    kind, message = _classify_other(exc)
    return _failure(kind, message)


def _classify_answer(exc: APIError) -> CallFailure:
    """The server answered with an error."""
    body = _error_body(exc)
    details = [item for item in body.get("details") or [] if isinstance(item, dict)]
    code = exc.code if isinstance(exc.code, int) else 0
    kind = _BY_CODE.get(code) or (
        ErrorType.INVALID_REQUEST if 400 <= code < 500 else ErrorType.SERVER_ERROR
    )
    if any(item.get("reason") == "API_KEY_INVALID" for item in details):
        kind = ErrorType.UNAUTHENTICATED
    status, text = body.get("status") or exc.status or "", body.get("message") or ""
    head = " ".join(str(word) for word in (code or "", status) if word)
    return _failure(kind, f"{head}: {text}" if text else head, _retry_after_s(exc, details))


def _classify_other(exc: BaseException) -> tuple[ErrorType, str]:
    """The call ended without an answer of the server."""
    name = type(exc).__name__
    # aiohttp's timeouts are TimeoutErrors and connection errors both: timeouts first.
    if isinstance(exc, TimeoutError | httpx.TimeoutException):
        return ErrorType.TIMEOUT, "No answer within the model's timeout_s."
    # A bad URL is a ValueError and an aiohttp error both: an error of the settings.
    if isinstance(exc, aiohttp.InvalidURL):
        return ErrorType.INTERNAL, "The base URL of the API is not a URL."
    if isinstance(exc, auth_errors.TransportError):
        return ErrorType.CONNECTION, f"Google's login could not be reached ({name})."
    if isinstance(exc, auth_errors.GoogleAuthError):
        return ErrorType.UNAUTHENTICATED, f"Google refused the credentials ({name}): {exc}"
    if isinstance(exc, _CONNECTION):
        return ErrorType.CONNECTION, f"The connection failed ({name}): {_os_reason(exc)}"
    # Bodies that are no JSON are ValueErrors too, but the server's fault.
    if isinstance(exc, UnknownApiResponseError | json.JSONDecodeError | UnicodeDecodeError):
        return ErrorType.SERVER_ERROR, "The server's answer could not be read as JSON."
    if isinstance(exc, ValidationError):
        return ErrorType.INVALID_REQUEST, _validation_message(exc)
    if isinstance(exc, ValueError):
        return ErrorType.INVALID_REQUEST, f"The request cannot be built: {exc}"
    # str(exc) of an unknown exception may hold the prompt: its type and place suffice.
    return ErrorType.INTERNAL, f"{name} at {_place(exc)}; a bug of Promptyard or the SDK."


def _failure(kind: ErrorType, message: str, retry_after_s: float | None = None) -> CallFailure:
    clean = _SECRETS.sub("[secret]", message)
    if len(clean) > _MAX_MESSAGE:
        clean = clean[: _MAX_MESSAGE - 1] + "…"
    return CallFailure(
        error=JobError(type=kind, message=clean),
        retryable=kind in _RETRYABLE,
        retry_after_s=retry_after_s,
    )


def _error_body(exc: APIError) -> Mapping[str, Any]:
    """``error`` of the body (``google.rpc.Status``), wherever the SDK left it."""
    details = exc.details
    if not isinstance(details, dict):
        return {}
    error = details.get("error")
    if isinstance(error, dict):
        return error
    # A body that did not call itself JSON comes as text in ``message``.
    try:
        nested = json.loads(details.get("message") or "")
    except (ValueError, TypeError):
        # An HTML page of a proxy says nothing that helps; a short sentence may.
        text = str(details.get("message") or "")
        return {"message": "" if text.lstrip().startswith("<") else text}
    error = nested.get("error") if isinstance(nested, dict) else None
    return error if isinstance(error, dict) else {}


def _retry_after_s(exc: APIError, details: list[dict[str, Any]]) -> float | None:
    """Seconds from ``google.rpc.RetryInfo``, else from the ``Retry-After`` header."""
    for item in details:
        if str(item.get("@type", "")).endswith("google.rpc.RetryInfo"):
            return _seconds(str(item.get("retryDelay", "")).removesuffix("s"))
    headers = getattr(exc.response, "headers", None)
    return _seconds(headers.get("Retry-After")) if headers is not None else None


def _seconds(text: object) -> float | None:
    """A plain number of seconds; None for anything else, such as an HTTP date."""
    if isinstance(text, str) and re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    return None


def _validation_message(exc: ValidationError) -> str:
    """Where and what is wrong, without the values: they may be the prompt."""
    found = exc.errors(include_url=False, include_context=False, include_input=False)
    places = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in found[:3]]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return f"The request is not valid: {'; '.join(places)}{more}"


def _os_reason(exc: BaseException) -> str:
    """The operating system's words where there are some."""
    return getattr(exc, "strerror", None) or str(exc) or "closed by the other side"


def _place(exc: BaseException) -> str:
    """Module and line that raised."""
    traceback = exc.__traceback__
    if traceback is None:
        return "an unknown place"
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_globals.get('__name__', '?')}:{traceback.tb_lineno}"
