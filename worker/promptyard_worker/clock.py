"""Redis' clock, as a worker knows it between two looks."""

from __future__ import annotations

import time


class Clock:
    """One clock for all hosts; set by every beat."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def set(self, now_s: float) -> None:
        """Redis' time is this now."""
        self._ahead_s = now_s - time.time()

    def now_s(self) -> float:
        """Seconds since the epoch by Redis' clock."""
        return time.time() + self._ahead_s
