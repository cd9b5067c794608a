"""Error answers in Google's form (https://google.aip.dev/193)."""

from __future__ import annotations

from typing import Any, Final

from promptyard.errors import PromptyardError

JsonObject = dict[str, Any]

RPC: Final = "type.googleapis.com/google.rpc."

#: google.rpc.Code names by HTTP status.
STATUS_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

#: What the real API says when it fails by itself.
FAULT_MESSAGES: Final = {
    400: "Request contains an invalid argument.",
    401: (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project."
    ),
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    502: "The server encountered a temporary error and could not complete your request.",
    503: "The model is overloaded. Please try again later.",
    504: "The service may be temporarily overloaded or down. Please try again later.",
}

_NO_KEY: Final = (
    "Method doesn't allow unregistered callers (callers without established identity). Please "
    "use API Key or other form of API consumer identity to call this API."
)
_BAD_KEY: Final = "API key not valid. Please pass a valid API key."
_NO_CREDENTIAL: Final = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, "
    "login cookie or other valid authentication credential."
)


class Refusal(PromptyardError):
    """The request is answered with an error; it never leaves the stand-in.

    Attributes:
        status: the HTTP status.
        body: the answer, in Google's form.
        limit: for a 429, which limit: rpm, tpm, rpd, concurrency or fault.
    """

    def __init__(self, status: int, body: JsonObject, *, limit: str | None = None) -> None:
        super().__init__(body["error"]["message"])
        self.status = status
        self.body = body
        self.limit = limit


def error_body(status: int, message: str, details: list[JsonObject] | None = None) -> JsonObject:
    """An error as Google writes it; without ``details`` where it gives none."""
    error: JsonObject = {"code": status, "message": message, "status": STATUS_NAMES[status]}
    if details:
        error["details"] = details
    return {"error": error}


def invalid(message: str, details: list[JsonObject] | None = None) -> Refusal:
    """A 400: the request cannot be used as it is."""
    return Refusal(400, error_body(400, message, details))


def unknown_field(name: str) -> Refusal:
    """A 400 for a field the API does not have."""
    message = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    violation = {"@type": RPC + "BadRequest", "fieldViolations": [{"description": message}]}
    return invalid(message, [violation])


def no_model(model: str, version: str, method: str) -> Refusal:
    """A 404: no such model, or not for this method."""
    message = (
        f"models/{model} is not found for API version {version}, or is not supported for "
        f"{method}. Call ListModels to see the list of available models and their supported "
        "methods."
    )
    return Refusal(404, error_body(404, message))


def no_publisher_model(path: str) -> Refusal:
    """A 404 as Vertex words it; ``path`` is the model's resource name."""
    message = (
        f"Publisher Model `{path}` was not found or your project does not have access to it. "
        "Please ensure you are using a valid model version. For more information, see: "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions"
    )
    return Refusal(404, error_body(404, message))


def no_permission(resource: str, *, vertex: bool) -> Refusal:
    """A 403 for one model; ``resource`` is its name. The Gemini API's wording is that for files."""
    if not vertex:
        message = f"You do not have permission to access the model {resource} or it may not exist."
        return Refusal(403, error_body(403, message))
    permission = "aiplatform.endpoints.predict"
    message = (
        f"Permission '{permission}' denied on resource '//aiplatform.googleapis.com/{resource}' "
        "(or it may not exist)."
    )
    details: list[JsonObject] = [
        {
            "@type": RPC + "ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "aiplatform.googleapis.com",
            "metadata": {"resource": resource, "permission": permission},
        }
    ]
    return Refusal(403, error_body(403, message, details))


def no_key(*, vertex: bool) -> Refusal:
    """The request carries no key: 403, or 401 on Vertex."""
    if vertex:
        return Refusal(401, error_body(401, _NO_CREDENTIAL))
    return Refusal(403, error_body(403, _NO_KEY))


def bad_key(*, vertex: bool) -> Refusal:
    """The key is another one: 400 API_KEY_INVALID, or 401 on Vertex."""
    if vertex:
        return Refusal(401, error_body(401, FAULT_MESSAGES[401]))
    details: list[JsonObject] = [
        {
            "@type": RPC + "ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        },
        {"@type": RPC + "LocalizedMessage", "locale": "en-US", "message": _BAD_KEY},
    ]
    return invalid(_BAD_KEY, details)


def fault_refusal(status: int) -> Refusal:
    """A played error, with the bare body the real API often has."""
    body = error_body(status, FAULT_MESSAGES[status])
    return Refusal(status, body, limit="fault" if status == 429 else None)
