"""Whom an error answer is about: the caller, the model or the job; wordings as people report."""

from __future__ import annotations

import pytest

from promptyard.job import ErrorType
from promptyard_worker.gemini import classify_exception
from promptyard_worker.gemini.taxonomy import QuotaKind
from tests.unit.api_errors import api_error, error_info

MODEL = "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-pro"
DENIED = "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com"
LINK = "Learn more: https://ai.google.dev/gemini-api/docs/models/gemini"


def type_of(
    code: int, text: str, reason: str | None = None, resource: str | None = None
) -> ErrorType:
    """The type of an error answer."""
    metadata = {"resource": resource} if resource else {}
    details = [error_info(reason, **metadata)] if reason else []
    return classify_exception(api_error(code, text, *details)).error.type


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (403, "The caller does not have permission", None),
        (403, "Your project has been denied access. Please contact support.", None),
        (403, "Your API key was reported as leaked. Please use another API key.", None),
        (403, f"Permission denied. {LINK}", None),
        (403, "Gemini API has not been used in project 1 before.", "SERVICE_DISABLED"),
        (403, "Requests to this API method models/x are blocked.", "API_KEY_SERVICE_BLOCKED"),
        (403, "Requests from referer <empty> are blocked.", "API_KEY_HTTP_REFERRER_BLOCKED"),
        (403, "Permission denied: Consumer has been suspended.", "CONSUMER_SUSPENDED"),
        (403, "This API method requires billing to be enabled.", "BILLING_DISABLED"),
        (403, "Request is prohibited by organization's policy.", "SECURITY_POLICY_VIOLATED"),
        (403, "Permission denied on resource project p.", "IAM_PERMISSION_DENIED"),
        (401, "Request had invalid authentication credentials.", "ACCESS_TOKEN_EXPIRED"),
        (400, "API key expired. Please renew the API key.", "API_KEY_INVALID"),
        (400, "User location is not supported for the API use.", None),
        (400, "Gemini API free tier is not available in your country.", None),
        (402, "Payment required.", None),
        (429, "Your prepayment credits are depleted. Please go to AI Studio.", None),
        (429, "Your project has exceeded its monthly spending cap.", None),
        (429, "Your billing account has exceeded its monthly spending cap.", None),
    ],
)
def test_about_the_caller(code: int, text: str, reason: str | None) -> None:
    """No model of this key answers until somebody mends it; waiting does not help."""
    failure = classify_exception(api_error(code, text, *([error_info(reason)] if reason else [])))
    assert failure.error.type is ErrorType.UNAUTHENTICATED
    assert (failure.retryable, failure.quota) == (False, None)


@pytest.mark.parametrize(
    ("code", "text", "reason", "resource"),
    [
        (403, f"{DENIED}/{MODEL}' (or it may not exist).", "IAM_PERMISSION_DENIED", MODEL),
        (403, "Permission denied.", "IAM_PERMISSION_DENIED", MODEL),
        (403, "Permission denied.", "IAM_PERMISSION_DENIED", "projects/p/locations/l/endpoints/7"),
        (403, f"{DENIED}/{MODEL}' (or it may not exist).", None, None),
        (403, "You do not have permission to access tuned model tunedModels/mine-1.", None, None),
        (
            404,
            "models/gemini-9 is not found for API version v1beta, or is not supported",
            None,
            None,
        ),
        (
            404,
            f"Publisher Model `{MODEL}` was not found or your project has no access.",
            None,
            None,
        ),
        (404, "This model models/gemini-2.0-flash is no longer available.", None, None),
        (404, "Requested entity was not found.", None, None),
        (404, "", None, None),
    ],
)
def test_about_the_model(code: int, text: str, reason: str | None, resource: str | None) -> None:
    """Another model may answer."""
    assert type_of(code, text, reason, resource) is ErrorType.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    ("code", "text", "resource"),
    [
        (403, "You do not have permission to access the File abc1 or it may not exist.", None),
        (403, "You do not have permission to access the File files/abc1.", None),
        (403, "CachedContent not found (or permission denied)", None),
        (403, "Permission denied while accessing input file. Learn more about it.", None),
        (403, "Permission denied.", "projects/p/locations/l/cachedContents/7"),
        (403, "x@y.iam does not have storage.objects.get access to the object.", None),
        (403, "Permission denied on fileSearchStores/mine-1.", None),
        (404, "File files/clip1 not found.", None),
        (404, "Not found: cached content metadata for 6116704758662168576.", None),
        (404, "Cannot find gs://bucket/a.pdf for publishers/google/models/gemini-2.5-pro.", None),
    ],
)
def test_about_the_job(code: int, text: str, resource: str | None) -> None:
    """One job with a wrong file must not stop the key, nor go from model to model."""
    reason = "IAM_PERMISSION_DENIED" if resource else None
    assert type_of(code, text, reason, resource) is ErrorType.INVALID_REQUEST


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("The input token count (125) exceeds the maximum number of tokens allowed (64).", 125),
        ("The input token count exceeds the maximum number of tokens allowed (64).", None),
        ("The input token count exceeds the maximum number of tokens allowed 64.", None),
        ("Sorry, the input token count is 125 but model only supports up to 64. Reduce it.", 125),
    ],
)
def test_a_prompt_that_is_too_long(text: str, needed: int | None) -> None:
    """In the wording of the Gemini API and of Vertex AI."""
    failure = classify_exception(api_error(400, text, status="INVALID_ARGUMENT"))
    assert failure.error.type is ErrorType.CONTEXT_TOO_LONG
    assert (failure.needed_tokens, failure.retryable) == (needed, False)


@pytest.mark.parametrize(
    "text",
    [
        "Invalid value at 'contents[0]': User location is not supported for the API use.",
        "The File abc1 is not in an ACTIVE state and usage is not allowed.",
        "Request payload size exceeds the limit: 20971520 bytes.",
    ],
)
def test_other_400s_are_about_the_job(text: str) -> None:
    """Also where they quote what would else stop the key."""
    failure = classify_exception(api_error(400, text))
    assert failure.error.type is ErrorType.INVALID_REQUEST
    assert failure.needed_tokens is None


def test_a_429_that_quotes_a_price_is_still_about_the_quota() -> None:
    """Only the beginning of the words counts."""
    failure = classify_exception(api_error(429, "Busy. Your prepayment credits are depleted."))
    assert failure.quota is QuotaKind.UNNAMED


@pytest.mark.parametrize("metadata", [None, "x", [], {"resource": 5}])
def test_strange_details_do_not_crash(metadata: object) -> None:
    """Whatever the metadata is, the code decides."""
    info = error_info("IAM_PERMISSION_DENIED") | {"metadata": metadata}
    failure = classify_exception(api_error(403, "no", info))
    assert failure.error.type is ErrorType.UNAUTHENTICATED
