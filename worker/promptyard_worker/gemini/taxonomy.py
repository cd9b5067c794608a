"""What a failed call means: one exception in, one typed failure out.

| it raised | type | retryable |
|---|---|---|
| 429 | quota_exceeded; `quota` says which | yes, after `retry_after_s` |
| 408, our own timeout | timeout | yes |
| 409, 499, 5xx, a body that is no JSON | server_error | yes |
| the connection failed or broke | connection | yes |
| 401, 402, 403; 400 for key or country; 429 for unpaid bills; no login | unauthenticated | no |
| 404; 403 that names a model | model_unavailable | no |
| 400 for more tokens than the model reads | context_too_long; `needed_tokens` | no |
| 403 or 404 that names a file or cached content of the job | invalid_request | no |
| other 4xx; a request that could not be built | invalid_request | no |
| anything else | internal | no |

``blame.py`` tells whom an error answer is about, ``quota_failure.py`` reads a 429. Messages
carry what the server said, never a key, and nothing of the prompt that the server did not
quote.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import aiohttp
from google.auth import exceptions as auth_errors
from google.genai.errors import APIError, UnknownApiResponseError
from pydantic import ValidationError

from promptyard.job import ErrorType, JobError
from promptyard_worker.gemini.blame import needed_tokens, type_of
from promptyard_worker.gemini.error_answer import ErrorAnswer, read_answer
from promptyard_worker.gemini.quota_failure import QuotaKind as QuotaKind
from promptyard_worker.gemini.quota_failure import quota_of, retry_after_s

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

#: google-genai sends by httpx2 from threads, or by httpx where that is asked for. Neither need
#: be installed, so their exceptions are known by name.
_HTTPX = ("httpx", "httpx2")


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A failed call, in a form to act on."""

    error: JobError
    #: Whether the same call may succeed later.
    retryable: bool
    #: How long the server asked to wait, in seconds; None if it did not say. Google often asks
    #: for seconds although the quota of the day is spent: ``quota`` goes before it.
    retry_after_s: float | None = None
    #: Which quota is spent; of a ``quota_exceeded`` only.
    quota: QuotaKind | None = None
    #: What the prompt counts, if the server said so; of a ``context_too_long`` only.
    needed_tokens: int | None = None


def classify_exception(exc: BaseException) -> CallFailure:
    """Say what an exception of ``GeminiClient.generate`` means."""
    if isinstance(exc, APIError):
        return _classify_answer(read_answer(exc))
    kind, message = _classify_other(exc)
    return CallFailure(error=_error(kind, message), retryable=kind in _RETRYABLE)


def _classify_answer(answer: ErrorAnswer) -> CallFailure:
    """The server answered with an error."""
    kind = type_of(answer)
    head = " ".join(str(word) for word in (answer.code or "", answer.status) if word)
    return CallFailure(
        error=_error(kind, f"{head}: {answer.text}" if answer.text else head),
        retryable=kind in _RETRYABLE,
        retry_after_s=retry_after_s(answer),
        quota=quota_of(answer) if kind is ErrorType.QUOTA_EXCEEDED else None,
        needed_tokens=needed_tokens(answer) if kind is ErrorType.CONTEXT_TOO_LONG else None,
    )


def _classify_other(exc: BaseException) -> tuple[ErrorType, str]:
    """The call ended without an answer of the server."""
    name = type(exc).__name__
    # Timeouts are TimeoutErrors and connection errors both: timeouts first.
    if isinstance(exc, TimeoutError) or _is_httpx(exc, "TimeoutException"):
        return ErrorType.TIMEOUT, "No answer within the model's timeout_s."
    # A bad URL is a ValueError or a connection error too: an error of the settings.
    if isinstance(exc, aiohttp.InvalidURL) or _is_httpx(exc, "InvalidURL", "UnsupportedProtocol"):
        return ErrorType.INTERNAL, "The base URL of the API is not a URL."
    if _is_httpx(exc, "LocalProtocolError"):
        # Its own words quote the header, and the header may be the key.
        return ErrorType.INTERNAL, f"{name}: no valid HTTP; look for odd characters in the API key."
    if isinstance(exc, auth_errors.TransportError):
        return ErrorType.CONNECTION, f"Google's login could not be reached ({name})."
    if isinstance(exc, auth_errors.GoogleAuthError):
        return ErrorType.UNAUTHENTICATED, f"Google refused the credentials ({name}): {exc}"
    if isinstance(exc, aiohttp.ClientError | OSError) or _is_httpx(exc, "RequestError"):
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


def _is_httpx(exc: BaseException, *names: str) -> bool:
    """Whether an exception is httpx' or httpx2's of one of these names, or inherits from it."""
    return any(
        kind.__name__ in names and kind.__module__.partition(".")[0] in _HTTPX
        for kind in type(exc).__mro__
    )


def _error(kind: ErrorType, message: str) -> JobError:
    clean = _SECRETS.sub("[secret]", message)
    if len(clean) > _MAX_MESSAGE:
        clean = clean[: _MAX_MESSAGE - 1] + "…"
    return JobError(type=kind, message=clean)


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
