"""What a 429 says: which quota is spent, and how long to wait."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from google.genai.errors import ClientError, ServerError

from promptyard.job import ErrorType
from promptyard_worker.gemini import classify_exception
from promptyard_worker.gemini.taxonomy import QuotaKind
from tests.unit.api_errors import RPC, api_error, error_info, quota_failure, retry_info

FREE_RPM = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
FREE_TPM = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
FREE_RPD = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
FREE_TPD = "GenerateContentInputTokensPerModelPerDay-FreeTier"


@pytest.mark.parametrize(
    ("quota_ids", "kind"),
    [
        (["GenerateRequestsPerMinutePerProjectPerModel"], QuotaKind.REQUESTS_PER_MINUTE),
        (["GenerateContentPaidTierInputTokensPerModelPerMinute"], QuotaKind.TOKENS_PER_MINUTE),
        (["GenerateRequestsPerDayPerProjectPerModel"], QuotaKind.REQUESTS_PER_DAY),
        (["EmbedContentRequestsPerMinutePerProjectPerModel"], QuotaKind.REQUESTS_PER_MINUTE),
        ([FREE_RPM], QuotaKind.REQUESTS_PER_MINUTE),
        ([FREE_TPM], QuotaKind.TOKENS_PER_MINUTE),
        ([FREE_RPD], QuotaKind.REQUESTS_PER_DAY),
        # Nothing more today, whatever is counted.
        ([FREE_TPD], QuotaKind.REQUESTS_PER_DAY),
        # Of several, a day wins, then the minute of tokens, in whatever order they stand.
        ([FREE_TPM, FREE_RPM, FREE_RPD], QuotaKind.REQUESTS_PER_DAY),
        ([FREE_RPM, FREE_TPM], QuotaKind.TOKENS_PER_MINUTE),
        (["ConcurrentRequestsPerProject", FREE_RPM], QuotaKind.REQUESTS_PER_MINUTE),
        (["ConcurrentRequestsPerProject"], QuotaKind.UNNAMED),
        (["GenerateTokensPerHourPerProject"], QuotaKind.UNNAMED),
        ([""], QuotaKind.UNNAMED),
        ([], QuotaKind.UNNAMED),
    ],
)
def test_the_quota_by_its_id(quota_ids: list[str], kind: QuotaKind) -> None:
    """Ids as Google spells them, on the free tier and on paid ones."""
    failure = classify_exception(api_error(429, "q", quota_failure(*quota_ids)))
    assert failure.quota is kind
    assert (failure.error.type, failure.retryable) == (ErrorType.QUOTA_EXCEEDED, True)


def test_a_429_that_names_no_quota() -> None:
    """Vertex AI's, and the bare one of a model short of capacity."""
    for text in ("Resource exhausted. Please try again later.", ""):
        failure = classify_exception(api_error(429, text))
        assert (failure.quota, failure.retry_after_s) == (QuotaKind.UNNAMED, None)


def test_the_quota_of_error_info() -> None:
    """Google's services in general name it there (error_reason.proto)."""
    info = error_info("RATE_LIMIT_EXCEEDED", quota_limit="GenerateContentRequestsPerDayPerProject")
    assert classify_exception(api_error(429, "q", info)).quota is QuotaKind.REQUESTS_PER_DAY


def test_other_errors_have_no_quota() -> None:
    """A 503 may ask to wait as well, but spends nothing."""
    failure = classify_exception(api_error(503, "busy", retry_info("3s")))
    assert (failure.quota, failure.retry_after_s) == (None, 3.0)


@pytest.mark.parametrize(
    "violations", [None, "x", 5, {}, [None, 5, {"quotaId": None}], [{"quotaId": ["x"]}]]
)
def test_strange_violations_do_not_crash(violations: Any) -> None:
    """A 429 is a 429."""
    detail = {"@type": RPC + "QuotaFailure", "violations": violations}
    assert classify_exception(api_error(429, "q", detail)).quota is QuotaKind.UNNAMED


@pytest.mark.parametrize(
    ("delay", "text", "seconds"),
    [
        ("13s", "q", 13.0),
        ("0.847655010s", "q", 0.84765501),
        # Whole seconds are rounded down; the words are exact.
        ("12s", "Quota exceeded.\nPlease retry in 12.345678s.", 12.345678),
        ("47s", "Please retry in 46s.", 47.0),
        (None, "Please retry in 36.429760048s.", 36.429760048),
        ("10076s", "Please retry in 2h47m56.584147483s.", 10076.584147483),
        ("0s", "Please retry in 998.394ms.", 0.998394),
        (None, "Please retry in 3m.", 180.0),
        ("soon", "Please retry in a while.", None),
        ("", "", None),
        ("-3s", "q", None),
        ("9" * 40 + "s", "Please retry in " + "9" * 400 + "s.", None),
    ],
)
def test_the_larger_wait_holds(delay: str | None, text: str, seconds: float | None) -> None:
    """Of RetryInfo and the words; what is no duration is left out."""
    details = [] if delay is None else [retry_info(delay)]
    failure = classify_exception(api_error(429, text, *details))
    assert failure.retry_after_s == (None if seconds is None else pytest.approx(seconds))


def test_only_a_429_asks_in_words() -> None:
    """The words of a 400 may quote the prompt, which must not stop a model."""
    failure = classify_exception(api_error(400, "Invalid value: Please retry in 9h."))
    assert failure.retry_after_s is None


def test_the_retry_after_header_is_the_last_choice() -> None:
    """A proxy's 503 has no RetryInfo but a header; an HTTP date is left alone."""
    response = httpx2.Response(503, headers={"Retry-After": "7"})
    assert classify_exception(ServerError(503, {}, response)).retry_after_s == 7.0
    body = {"error": {"code": 429, "message": "Please retry in 2s."}}
    assert classify_exception(ClientError(429, body, response)).retry_after_s == 2.0
    response = httpx2.Response(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    assert classify_exception(ServerError(503, {}, response)).retry_after_s is None
