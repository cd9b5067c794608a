"""What a 429 says: which quota is spent, and how long to wait.

The forms are those of bodies that people report. The Gemini API names quotas, in
``QuotaFailure`` or, as Google's services do in general, in ``ErrorInfo``; Vertex AI, and either
API when it is short of capacity, name none. ``-FreeTier`` at the end of an id changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from promptyard_worker.gemini.error_answer import ErrorAnswer


class QuotaKind(StrEnum):
    """The quota that a 429 is about."""

    #: Requests in a rolling minute.
    REQUESTS_PER_MINUTE = "rpm"
    #: Input tokens in a rolling minute.
    TOKENS_PER_MINUTE = "tpm"
    #: A quota of the day, which ends at midnight Pacific time: of requests as a rule, of
    #: tokens on some free tiers. Both mean the same: nothing more today.
    REQUESTS_PER_DAY = "rpd"
    #: The server did not say, or named a quota that is none of these.
    UNNAMED = "unnamed"


#: Of several quotas, the one that keeps a call waiting longest. A spent day outlasts any
#: minute; a prompt may need most of a minute's tokens, but never more than one of its requests.
_LONGEST_FIRST: Final = (
    QuotaKind.REQUESTS_PER_DAY,
    QuotaKind.TOKENS_PER_MINUTE,
    QuotaKind.REQUESTS_PER_MINUTE,
    QuotaKind.UNNAMED,
)

#: As Google spells it, for instance 2h47m56.584147483s or 998.394ms.
_DURATION: Final = r"(?:\d{1,9}(?:\.\d{1,9})?(?:h|ms|m|s))+"
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_RETRY_IN: Final = re.compile(f"Please retry in ({_DURATION})")
_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def quota_of(answer: ErrorAnswer) -> QuotaKind:
    """The quota that is spent; of several, the one with the longest wait."""
    kinds = {_kind(quota_id) for quota_id in _quota_ids(answer)}
    return min(kinds, key=_LONGEST_FIRST.index, default=QuotaKind.UNNAMED)


def retry_after_s(answer: ErrorAnswer) -> float | None:
    """Seconds the server asks to wait; None if it does not say.

    ``RetryInfo`` has whole seconds, rounded down, and the words of a 429 the exact time: the
    larger holds. The ``Retry-After`` header counts where there is neither.
    """
    waits = [_seconds(item.get("retryDelay")) for item in answer.of_type("RetryInfo")]
    # Only of a 429: its words never quote the prompt, so that no prompt can ask for a wait.
    if answer.code == 429 and (found := _RETRY_IN.search(answer.text)):
        waits.append(_seconds(found[1]))
    said = [wait for wait in waits if wait is not None]
    if said:
        return max(said)
    # A plain number of seconds; a proxy may also send an HTTP date, which is left alone.
    return _seconds(f"{answer.retry_after}s")


def _quota_ids(answer: ErrorAnswer) -> Iterator[str]:
    for failure in answer.of_type("QuotaFailure"):
        violations = failure.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield str(violation.get("quotaId") or "")
    yield from answer.metadata("quota_limit")


def _kind(quota_id: str) -> QuotaKind:
    # A quota of another period (an hour, calls at once) is UNNAMED: the policy then feels its
    # way by backoff, which fits any period, instead of trusting in a minute or a day.
    if "PerDay" in quota_id:
        return QuotaKind.REQUESTS_PER_DAY
    if "PerMinute" not in quota_id:
        return QuotaKind.UNNAMED
    return QuotaKind.TOKENS_PER_MINUTE if "Token" in quota_id else QuotaKind.REQUESTS_PER_MINUTE


def _seconds(text: object) -> float | None:
    """A duration as Google spells it; None for anything else."""
    if not isinstance(text, str) or not re.fullmatch(_DURATION, text):
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
