"""Quotas as Google keeps them: sliding minutes, and days that end at midnight Pacific."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import floor
from typing import Final, Literal

from promptyard_worker.pacific import next_midnight
from promptyard_worker.sim.refusal import RPC, JsonObject, Refusal, error_body

WINDOW_S: Final = 60.0
#: What a played 429 names where the prompt does not say.
_PLAYED_RETRY_S: Final = 17.0
_PLAYED_LIMIT: Final = 10

LimitKind = Literal["rpm", "tpm", "rpd"]

#: (quotaMetric, quotaId) of a paid project, as seen in the 429s people report. A free-tier
#: project has ``free_tier`` in the metric and the id ends in ``-FreeTier``. For the two
#: per-token and per-day ids of embeddings only free-tier bodies were found.
_GENERATE_IDS: Final[dict[LimitKind, tuple[str, str]]] = {
    "rpm": ("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel"),
    "tpm": (
        "generate_content_paid_tier_input_token_count",
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
    ),
    "rpd": ("generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel"),
}
_EMBED_IDS: Final[dict[LimitKind, tuple[str, str]]] = {
    "rpm": ("embed_content_requests", "EmbedContentRequestsPerMinutePerProjectPerModel"),
    "tpm": (
        "embed_content_input_token_count",
        "EmbedContentInputTokensPerMinutePerProjectPerModel",
    ),
    "rpd": ("embed_content_requests", "EmbedContentRequestsPerDayPerProjectPerModel"),
}

_MESSAGE: Final = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. "
    "To monitor your current usage, head to: https://ai.dev/rate-limit. "
)
_VERTEX_MESSAGE: Final = (
    "Resource exhausted. Please try again later. Please refer to "
    "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
)
_HELP: Final[JsonObject] = {
    "@type": RPC + "Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}


class SlidingWindow:
    """At most ``limit`` units in any 60 seconds, to the microsecond."""

    __slots__ = ("_taken", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._taken: deque[tuple[float, int]] = deque()

    def wait_s(self, now_s: float, amount: int) -> float:
        """Seconds until ``amount`` fits; 0 now, a full window if it never does."""
        taken = self._taken
        while taken and taken[0][0] <= now_s - WINDOW_S:
            self.used -= taken.popleft()[1]
        excess = self.used + amount - self.limit
        if excess <= 0:
            return 0.0
        for at_s, units in taken:
            excess -= units
            if excess <= 0:
                return at_s + WINDOW_S - now_s
        return WINDOW_S

    def take(self, now_s: float, amount: int) -> None:
        """Count ``amount`` units at ``now_s``."""
        self._taken.append((now_s, amount))
        self.used += amount


class DayWindow:
    """At most ``limit`` units from midnight to midnight Pacific time."""

    __slots__ = ("_clock", "_reset_at", "limit", "used")

    def __init__(self, limit: int, clock: Callable[[], datetime]) -> None:
        self.limit = limit
        self.used = 0
        self._clock = clock
        self._reset_at = next_midnight(clock())

    def wait_s(self, amount: int) -> float:
        """Seconds until ``amount`` fits: 0, or the time to the reset."""
        now = self._clock()
        if now >= self._reset_at:
            self.used = 0
            self._reset_at = next_midnight(now)
        if self.used + amount <= self.limit:
            return 0.0
        return (self._reset_at - now).total_seconds()


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that a call would exceed."""

    kind: LimitKind
    limit: int
    retry_s: float


class ModelQuota:
    """The quota of one model; without limits it costs nothing."""

    __slots__ = ("_day", "_requests", "_tokens")

    def __init__(
        self,
        *,
        rpm: int | None,
        tpm: int | None,
        rpd: int | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._requests = None if rpm is None else SlidingWindow(rpm)
        self._tokens = None if tpm is None else SlidingWindow(tpm)
        self._day = None if rpd is None else DayWindow(rpd, clock)

    def admit(self, now_s: float, requests: int, tokens: int) -> list[Violation]:
        """Count a call if every limit has room for it; else say which have not.

        A call that is refused counts nowhere.
        """
        found: list[Violation] = []
        day, per_minute, token_window = self._day, self._requests, self._tokens
        if day is not None and (wait_s := day.wait_s(requests)):
            found.append(Violation("rpd", day.limit, wait_s))
        if per_minute is not None and (wait_s := per_minute.wait_s(now_s, requests)):
            found.append(Violation("rpm", per_minute.limit, wait_s))
        if token_window is not None and (wait_s := token_window.wait_s(now_s, tokens)):
            found.append(Violation("tpm", token_window.limit, wait_s))
        if not found:
            if day is not None:
                day.used += requests
            if per_minute is not None:
                per_minute.take(now_s, requests)
            if token_window is not None:
                token_window.take(now_s, tokens)
        return found


def played_refusal(
    model: str, kind: LimitKind | None, retry_s: float | None, now: datetime
) -> Refusal:
    """A 429 that a prompt asked for; by default of the quota of a minute.

    The limit it names is made up; a spent day lasts until midnight unless ``retry_s`` is given.
    """
    kind = kind or "rpm"
    if retry_s is None:
        retry_s = (next_midnight(now) - now).total_seconds() if kind == "rpd" else _PLAYED_RETRY_S
    violation = Violation(kind, _PLAYED_LIMIT, retry_s)
    refusal = quota_refusal(model, [violation], embeds=False, vertex=False)
    return Refusal(429, refusal.body, limit="fault")


def quota_refusal(model: str, found: list[Violation], *, embeds: bool, vertex: bool) -> Refusal:
    """The 429 of the real API. RetryInfo has whole seconds, rounded down, as Google's has;
    the message has the exact time. Vertex names neither quota nor delay.
    """
    kind = found[0].kind
    if vertex:
        return Refusal(429, error_body(429, _VERTEX_MESSAGE), limit=kind)
    ids = _EMBED_IDS if embeds else _GENERATE_IDS
    retry_s = max(violation.retry_s for violation in found)
    lines, violations = [], []
    for violation in found:
        metric = f"generativelanguage.googleapis.com/{ids[violation.kind][0]}"
        lines.append(
            f"\n* Quota exceeded for metric: {metric}, limit: {violation.limit}, model: {model}"
        )
        violations.append(
            {
                "quotaMetric": metric,
                "quotaId": ids[violation.kind][1],
                "quotaDimensions": {"location": "global", "model": model},
                "quotaValue": str(violation.limit),
            }
        )
    message = _MESSAGE + "".join(lines) + f"\nPlease retry in {retry_s:.9f}s."
    details = [
        {"@type": RPC + "QuotaFailure", "violations": violations},
        _HELP,
        {"@type": RPC + "RetryInfo", "retryDelay": f"{floor(retry_s)}s"},
    ]
    return Refusal(429, error_body(429, message, details), limit=kind)
