"""What a worker tells the shared breakers: failures at once, the rest now and then.

Calls that went well only matter beside failures, so they are told with the next failure or beat.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from promptyard.store import Call, breakers
from promptyard.store.breakers import BreakerRule

if TYPE_CHECKING:
    from promptyard_worker.routing.config import RouterConfig

#: Why a breaker is open: the key is refused, for every model alike.
UNAUTHENTICATED: Final = "unauthenticated"
#: Why a breaker is open: the day's requests are used up.
DAILY_QUOTA: Final = "daily quota"


class Breakers:
    """One process' tally of calls that went well."""

    def __init__(self) -> None:
        self._good: Counter[str] = Counter()

    def went_well(self, model: str, config: RouterConfig, *, probe: str) -> list[Call[bool]]:
        """A call that the model answered; to be told at once if it was the probe."""
        self._good[model] += 1
        return [self._report(model, config, probe=probe)] if probe else []

    def failed(self, model: str, config: RouterConfig, *, probe: str) -> Call[bool]:
        """A call that failed as calls do in an outage."""
        return self._report(model, config, bad=1, probe=probe)

    def beat(self, config: RouterConfig) -> list[Call[bool]]:
        """What is still to be told."""
        return [self._report(model, config) for model in list(self._good) if model in config.models]

    def _report(
        self, model: str, config: RouterConfig, *, bad: int = 0, probe: str = ""
    ) -> Call[bool]:
        rule = config.breaker_of(model)
        return breakers.report(
            model,
            BreakerRule(
                window_s=rule.window_s,
                failure_rate=rule.failure_rate,
                min_calls=rule.min_calls,
                open_s=rule.open_s,
                max_open_s=rule.max_open_s,
            ),
            good=self._good.pop(model, 0),
            bad=bad,
            probe=probe,
        )
