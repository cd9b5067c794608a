"""Sliding minutes and Pacific days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from promptyard_worker.sim.quota import (
    ModelQuota,
    SlidingWindow,
    Violation,
    next_midnight,
    quota_refusal,
)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, start: datetime) -> None:
        self.time = start

    def __call__(self) -> datetime:
        """The time it is set to."""
        return self.time


NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def test_window_slides() -> None:
    """Units leave one by one, 60 s after they came, not together at a full minute."""
    window = SlidingWindow(2)
    for second in (0.0, 50.0):
        assert window.wait_s(second, 1) == 0
        window.take(second, 1)
    assert window.wait_s(55.0, 1) == pytest.approx(5.0)
    assert window.wait_s(55.0, 2) == pytest.approx(55.0)
    assert window.wait_s(60.0, 1) == 0
    window.take(60.0, 1)
    assert window.wait_s(61.0, 1) == pytest.approx(49.0)


def test_never_more_than_the_limit_in_any_60_seconds() -> None:
    """A client that comes as often as it can gets no more through."""
    window = SlidingWindow(10)
    admitted = []
    for step in range(3_000):
        now_s = step * 0.1
        if window.wait_s(now_s, 1) == 0:
            window.take(now_s, 1)
            admitted.append(now_s)
    for at_s in admitted:
        assert sum(1 for other in admitted if at_s <= other < at_s + 59.999) <= 10
    assert len(admitted) == 50


def test_what_never_fits_waits_a_full_window() -> None:
    """One prompt of more tokens than the limit."""
    assert SlidingWindow(100).wait_s(5.0, 101) == 60.0


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        (datetime(2026, 7, 1, 6, 59, tzinfo=UTC), datetime(2026, 7, 1, 7, tzinfo=UTC)),
        (datetime(2026, 7, 1, 7, 0, tzinfo=UTC), datetime(2026, 7, 2, 7, tzinfo=UTC)),
        (datetime(2026, 1, 1, 12, 0, tzinfo=UTC), datetime(2026, 1, 2, 8, tzinfo=UTC)),
        (datetime(2026, 3, 8, 12, 0, tzinfo=UTC), datetime(2026, 3, 9, 7, tzinfo=UTC)),
    ],
)
def test_the_day_ends_at_midnight_pacific(now: datetime, midnight: datetime) -> None:
    """In summer at 07:00 UTC, in winter at 08:00."""
    assert next_midnight(now) == midnight


def test_daily_quota_resets() -> None:
    """Spent until midnight Pacific, then whole again."""
    clock = Clock(NOON)
    quota = ModelQuota(rpm=None, tpm=None, rpd=2, clock=clock)
    assert [quota.admit(0, 1, 5) for _ in range(2)] == [[], []]
    (violation,) = quota.admit(0, 1, 5)
    assert violation == Violation("rpd", 2, 19 * 3600.0)
    clock.time += timedelta(hours=19)
    assert quota.admit(0, 1, 5) == []


def test_a_refused_call_counts_nowhere() -> None:
    """One that fails on tokens does not spend requests."""
    quota = ModelQuota(rpm=2, tpm=100, rpd=None, clock=Clock(NOON))
    assert quota.admit(0, 1, 90) == []
    for _ in range(5):
        assert [violation.kind for violation in quota.admit(1, 1, 20)] == ["tpm"]
    assert quota.admit(2, 1, 10) == []
    assert [violation.kind for violation in quota.admit(3, 1, 1)] == ["rpm", "tpm"]


def test_refusal_has_the_body_of_the_real_api() -> None:
    """QuotaFailure, Help and RetryInfo; the delay is rounded down as Google's is."""
    refusal = quota_refusal(
        "gemini-2.5-pro",
        [Violation("rpm", 10, 17.9), Violation("tpm", 1000, 3.0)],
        embeds=False,
        vertex=False,
    )
    error = refusal.body["error"]
    assert (error["code"], error["status"], refusal.limit) == (429, "RESOURCE_EXHAUSTED", "rpm")
    failure, help_links, retry = error["details"]
    assert failure["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
    assert failure["violations"][0] == {
        "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model",
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": "gemini-2.5-pro"},
        "quotaValue": "10",
    }
    token_id = failure["violations"][1]["quotaId"]
    assert token_id == "GenerateContentPaidTierInputTokensPerModelPerMinute"
    assert help_links["@type"] == "type.googleapis.com/google.rpc.Help"
    assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}


def test_vertex_names_no_quota() -> None:
    """Its 429 has neither QuotaFailure nor RetryInfo."""
    found = [Violation("rpm", 10, 17.0)]
    error = quota_refusal("gemini-2.5-pro", found, embeds=False, vertex=True).body["error"]
    assert "details" not in error
