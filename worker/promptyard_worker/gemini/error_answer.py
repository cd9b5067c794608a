"""An error that the server answered with, read out of the SDK's exception."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.genai.errors import APIError

JsonObject = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A ``google.rpc.Status`` and what came with it; empty where the server said nothing."""

    #: The HTTP status; 0 if the SDK did not get one.
    code: int
    #: The name of the code, such as ``NOT_FOUND``.
    status: str
    #: The server's words.
    text: str
    #: ``google.rpc`` messages (https://google.aip.dev/193).
    details: tuple[JsonObject, ...]
    #: The ``Retry-After`` header.
    retry_after: str | None = None

    def of_type(self, name: str) -> Iterator[JsonObject]:
        """The details of one ``google.rpc`` type."""
        end = f"google.rpc.{name}"
        return (item for item in self.details if str(item.get("@type", "")).endswith(end))

    @property
    def reasons(self) -> frozenset[str]:
        """What ``google.rpc.ErrorInfo`` gives as the reason."""
        found = (item.get("reason") for item in self.of_type("ErrorInfo"))
        return frozenset(str(reason) for reason in found if reason)

    def metadata(self, key: str) -> Iterator[str]:
        """Values of one key in the metadata of ``google.rpc.ErrorInfo``."""
        for item in self.of_type("ErrorInfo"):
            metadata = item.get("metadata")
            if isinstance(metadata, dict) and metadata.get(key):
                yield str(metadata[key])


def read_answer(exc: APIError) -> ErrorAnswer:
    """Read an exception of the SDK; whatever the body is, the code is there."""
    body = _error_body(exc)
    details = body.get("details")
    headers = getattr(exc.response, "headers", None)
    return ErrorAnswer(
        code=exc.code if isinstance(exc.code, int) else 0,
        status=str(body.get("status") or exc.status or ""),
        text=str(body.get("message") or ""),
        details=tuple(
            item
            for item in (details if isinstance(details, list) else ())
            if isinstance(item, dict)
        ),
        retry_after=headers.get("Retry-After") if headers is not None else None,
    )


def _error_body(exc: APIError) -> JsonObject:
    """``error`` of the body, wherever the SDK left it."""
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
