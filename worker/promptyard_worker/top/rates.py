"""How fast jobs end and money goes, from the counters of two looks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from promptyard.batch import BatchStatus
from promptyard_worker.top.look import Look

#: Rates are of so long.
WINDOW_S: Final = 60.0


@dataclass(frozen=True)
class Rates:
    """Of the last minute, or of as much of it as has been seen."""

    jobs_per_s: float
    usd_per_min: float
    over_s: float


@dataclass(frozen=True)
class _Point:
    at_s: float
    #: Since the first look.
    jobs: int
    cost_usd: float


class Meter:
    """Measures rates from look to look."""

    def __init__(self) -> None:
        self._points: deque[_Point] = deque()
        self._before: dict[str, BatchStatus] = {}

    def add(self, look: Look) -> Rates | None:
        """Take a look into account; None until there are two."""
        last = self._points[-1] if self._points else _Point(look.at_s, 0, 0.0)
        jobs, cost_usd = self._gained(look, since_s=last.at_s) if self._points else (0, 0.0)
        self._before = {status.id: status for status in look.batches}
        self._points.append(_Point(look.at_s, last.jobs + jobs, last.cost_usd + cost_usd))
        # the first point stays until the second is a whole window old
        while len(self._points) > 2 and look.at_s - self._points[1].at_s >= WINDOW_S:
            self._points.popleft()
        first, now = self._points[0], self._points[-1]
        over_s = now.at_s - first.at_s
        if over_s <= 0:
            return None
        return Rates(
            jobs_per_s=(now.jobs - first.jobs) / over_s,
            usd_per_min=(now.cost_usd - first.cost_usd) / over_s * 60,
            over_s=over_s,
        )

    def _gained(self, look: Look, *, since_s: float) -> tuple[int, float]:
        """Jobs that ended and money that went since the last look."""
        jobs, cost_usd = 0, 0.0
        for status in look.batches:
            before = self._before.get(status.id)
            if before is None and status.created.timestamp() < since_s:
                continue  # an older one, listed again: it was not looked at meanwhile
            # a retry puts jobs back: then fewer have ended
            jobs += max(0, status.finished - (before.finished if before else 0))
            cost_usd += max(0.0, status.cost_usd - (before.cost_usd if before else 0.0))
        return jobs, cost_usd
