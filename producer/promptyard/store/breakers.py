"""Calls about circuit breakers: one a model, shared by all workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptyard.store import keys, records
from promptyard.store.call import Call
from promptyard.store.health import Breaker
from promptyard.store.scripts import script


@dataclass(frozen=True, kw_only=True)
class BreakerRule:
    """When a breaker opens, and for how long."""

    window_s: float
    failure_rate: float
    min_calls: int
    open_s: float
    max_open_s: float


def report(
    model: str, rule: BreakerRule, *, good: int = 0, bad: int = 0, probe: str = ""
) -> Call[bool]:
    """Tell how calls went. Gives whether the breaker is open afterwards.

    Args:
        model: what was called.
        rule: when its breaker opens.
        good: calls that the model answered, in whatever way.
        bad: calls that failed as they do in an outage.
        probe: id of the job whose call was the probe, if one was.
    """
    args = (
        model,
        good,
        bad,
        rule.window_s,
        rule.failure_rate,
        rule.min_calls,
        rule.open_s,
        rule.max_open_s,
        probe,
    )
    return Call(script("report"), args, bool)


def trip(
    models: Sequence[str], *, reason: str, for_s: float = 0, until_s: float | None = None
) -> Call[float]:
    """Open the breakers of models, for so long or until then. Gives until when."""
    args = ("" if until_s is None else until_s, for_s, reason, *models)
    return Call(script("trip"), args, float)


def breaker(model: str) -> Call[Breaker | None]:
    """The breaker of a model, if it is open; None if calls pass."""

    def decode(reply: dict[bytes, bytes]) -> Breaker | None:
        if b"open_until" not in reply:
            return None
        return Breaker(
            reason=reply[b"reason"].decode(),
            since=records.moment(reply[b"since"]),
            open_until=records.moment(reply[b"open_until"]),
            probe_until=(
                records.moment(reply[b"probe_until"]) if b"probe_until" in reply else None
            ),
        )

    return Call("HGETALL", (keys.breaker(model),), decode)
