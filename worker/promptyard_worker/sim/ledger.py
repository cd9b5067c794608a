"""The counters: what arrived, what was answered, what each prompt got.

Tests trust these numbers rather than Promptyard's own. So a call is counted when its request
line and headers are in, before its body is read, even if the client then hangs up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

_SECONDS: Final = 60


class RateMeter:
    """Units in the last 60 s, in buckets of one second (constant memory)."""

    __slots__ = ("_buckets", "_second")

    def __init__(self) -> None:
        self._buckets = [0] * _SECONDS
        self._second = 0

    def add(self, now_s: float, amount: int) -> None:
        """Count ``amount`` at ``now_s``."""
        second = int(now_s)
        if second != self._second:
            self._forget(second)
        self._buckets[second % _SECONDS] += amount

    def total(self, now_s: float) -> int:
        """Units of the last 60 s."""
        self._forget(int(now_s))
        return sum(self._buckets)

    def _forget(self, second: int) -> None:
        for stale in range(max(self._second, second - _SECONDS) + 1, second + 1):
            self._buckets[stale % _SECONDS] = 0
        self._second = max(self._second, second)


class ModelTally:
    """The counters of one model."""

    __slots__ = ("calls", "in_flight", "max_in_flight", "requests", "running", "tokens")

    def __init__(self) -> None:
        self.calls = 0
        self.in_flight = 0
        self.max_in_flight = 0
        #: Calls past the quota, which ``max_concurrency`` limits.
        self.running = 0
        self.requests = RateMeter()
        self.tokens = RateMeter()


class Ledger:
    """All counters since the start or the last reset."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._models: dict[str, ModelTally] = {}
        self.reset()

    def reset(self) -> None:
        """Start anew; calls in flight stay counted as in flight."""
        self._since_s = self._clock()
        self.by_method: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.rate_limited: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.calls_of: dict[bytes, int] = {}
        self.succeeded_of: dict[bytes, int] = {}
        self.texts_embedded = 0
        self.in_flight = sum(tally.in_flight for tally in self._models.values())
        self.max_in_flight = self.in_flight
        for tally in self._models.values():
            tally.calls = 0
            tally.max_in_flight = tally.in_flight
            tally.requests, tally.tokens = RateMeter(), RateMeter()

    def tally(self, model: str) -> ModelTally:
        """The counters of one model, made at its first call."""
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = ModelTally()
        return found

    def arrive(self, tally: ModelTally, method: str) -> None:
        """A call's headers are in."""
        tally.calls += 1
        tally.in_flight += 1
        if tally.in_flight > tally.max_in_flight:
            tally.max_in_flight = tally.in_flight
        self.in_flight += 1
        if self.in_flight > self.max_in_flight:
            self.max_in_flight = self.in_flight
        self.by_method[method] += 1

    def leave(self, tally: ModelTally, outcome: str, *, admitted: bool) -> None:
        """A call is over: answered with a status, ``disconnected`` (the client hung up) or
        ``aborted`` (we broke the connection).
        """
        tally.in_flight -= 1
        self.in_flight -= 1
        if admitted:
            tally.running -= 1
        self.by_status[outcome] += 1

    def name_prompt(self, key: bytes) -> int:
        """A call of this prompt; its number from 1."""
        turn = self.calls_of.get(key, 0) + 1
        self.calls_of[key] = turn
        return turn

    def succeed(self, key: bytes) -> None:
        """A whole, usable answer of this prompt went out."""
        self.succeeded_of[key] = self.succeeded_of.get(key, 0) + 1

    def meter(self, tally: ModelTally, requests: int, tokens: int) -> None:
        """A call passed the quota."""
        now_s = self._clock()
        tally.running += 1
        tally.requests.add(now_s, requests)
        tally.tokens.add(now_s, tokens)

    def snapshot(self, *, prompts: bool = False) -> dict[str, Any]:
        """Everything, as ``GET /stats`` gives it."""
        now_s = self._clock()
        called = {name: tally for name, tally in self._models.items() if tally.calls}
        stats: dict[str, Any] = {
            "since_s": round(now_s - self._since_s, 3),
            "calls": sum(self.by_method.values()),
            "calls_by_model": {name: tally.calls for name, tally in called.items()},
            "calls_by_method": dict(self.by_method),
            "calls_by_status": dict(self.by_status),
            "disconnected": self.by_status["disconnected"],
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "max_in_flight_by_model": {name: tally.max_in_flight for name, tally in called.items()},
            "rate_limited": dict(self.rate_limited),
            "faults": dict(self.faults),
            "tokens": dict(self.tokens),
            "rates": {
                name: {
                    "requests_per_min": tally.requests.total(now_s),
                    "input_tokens_per_min": tally.tokens.total(now_s),
                }
                for name, tally in called.items()
            },
            "texts_embedded": self.texts_embedded,
            **self._prompt_figures(),
        }
        if prompts:
            stats["by_prompt"] = {
                key.hex(): {"calls": calls, "succeeded": self.succeeded_of.get(key, 0)}
                for key, calls in self.calls_of.items()
            }
        return stats

    def _prompt_figures(self) -> dict[str, int]:
        calls, succeeded = self.calls_of.values(), self.succeeded_of.values()
        return {
            "prompts": len(calls),
            "calls_per_prompt_max": max(calls, default=0),
            "prompts_called_more_than_once": sum(1 for count in calls if count > 1),
            "succeeded": sum(succeeded),
            "prompts_succeeded": len(succeeded),
            "succeeded_per_prompt_max": max(succeeded, default=0),
            "prompts_succeeded_more_than_once": sum(1 for count in succeeded if count > 1),
        }
