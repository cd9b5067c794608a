"""How the models of the catalog are, read off breakers, pauses, quota and parked jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptyard.names import Tier
from promptyard.store import breakers, keys, parking, quota, records
from promptyard.store.call import Call
from promptyard.store.health import ModelHealth, QuotaUse

#: Length of a bucket: as in lua/quota.lua.
WIDTH_S: Final = 0.1
_MINUTE_S: Final = 60.0


@dataclass(frozen=True)
class Granted:
    """What one bucket of a quota's minute counts."""

    requests: int = 0
    tokens: int = 0


def granted(model: str) -> Call[dict[int, Granted]]:
    """The buckets of a model's quota: number -> what was granted in it."""

    def decode(reply: dict[bytes, bytes]) -> dict[int, Granted]:
        counts = {name.decode(): int(count) for name, count in reply.items()}
        return {
            number: Granted(counts.get(f"r{number}", 0), counts.get(f"t{number}", 0))
            for number in {int(name[1:]) for name in counts}
        }

    return Call("HGETALL", (f"{keys.quota(model)}:log",), decode)


def questions(model: str) -> list[Call[Any]]:
    """What ``health`` wants to know of a model."""
    return [
        breakers.breaker(model),
        quota.usage(model),
        granted(model),
        parking.parked_count(parking.model_place(model)),
    ]


def health(
    model: str, tier: Tier, answers: list[Any], *, paused: Mapping[str, float], now_s: float
) -> ModelHealth:
    """How a model is.

    Args:
        model: its name.
        tier: who calls it.
        answers: to its ``questions``.
        paused: as ``pauses.paused_places`` gives it.
        now_s: Redis' time.
    """
    breaker, numbers, buckets, parked = answers
    since_s = paused.get(parking.model_place(model))
    tier_since_s = paused.get(parking.tier_place(tier))
    return ModelHealth(
        name=model,
        tier=tier,
        paused_since=None if since_s is None else records.moment(since_s),
        tier_paused_since=None if tier_since_s is None else records.moment(tier_since_s),
        breaker=breaker,
        quota=quota_use(numbers, buckets, now_s=now_s),
        parked=parked,
    )


def quota_use(
    numbers: Mapping[str, float], buckets: Mapping[int, Granted], *, now_s: float
) -> QuotaUse:
    """The quota in use, counted anew: the scripts' own sums are of the minute of the last grant."""
    oldest = (now_s - _MINUTE_S) / WIDTH_S
    recent = [bucket for number, bucket in buckets.items() if number + 1 > oldest]
    blocked_s = numbers.get("blocked", 0.0)
    is_today = now_s < numbers.get("day_reset", 0.0)
    return QuotaUse(
        requests=sum(bucket.requests for bucket in recent),
        tokens=sum(bucket.tokens for bucket in recent),
        day_requests=int(numbers.get("day_used", 0)) if is_today else 0,
        blocked_until=records.moment(blocked_s) if blocked_s > now_s else None,
        request_factor=_factor(numbers, "req"),
        token_factor=_factor(numbers, "tok"),
        found_rpm=_found(numbers, "req"),
        found_tpm=_found(numbers, "tok"),
    )


def _factor(numbers: Mapping[str, float], kind: str) -> float:
    """On the limit of the file; where a limit was found the factor is on that (``_found``)."""
    return 1.0 if f"{kind}_found" in numbers else numbers.get(f"{kind}_factor", 1.0)


def _found(numbers: Mapping[str, float], kind: str) -> int | None:
    found = numbers.get(f"{kind}_found")
    return None if found is None else int(found * numbers.get(f"{kind}_factor", 1.0))
