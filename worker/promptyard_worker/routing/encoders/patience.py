"""How long an embedding may wait, and how many texts a minute are sent."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

WINDOW_S: Final = 60.0
#: Upper bound of the first wait; it doubles with each attempt.
BASE_DELAY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Timing:
    """A clock, and a way to wait by it."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Patience:
    """The waits of one task, which end together."""

    def __init__(self, seconds: float, timing: Timing) -> None:
        self._timing = timing
        self._end_s = timing.clock() + seconds

    def wait(self, seconds: float) -> bool:
        """Wait; False, at once, if that would take longer than there is patience."""
        if self._timing.clock() + seconds > self._end_s:
            return False
        self._timing.sleep(seconds)
        return True


class Pace:
    """At most so many texts in any minute, whichever thread sends them."""

    def __init__(self, per_minute: int, timing: Timing) -> None:
        self.per_minute = per_minute
        self._clock = timing.clock
        self._sent: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    def take(self, amount: int) -> float:
        """Count so many texts as sent and give 0; else seconds until there may be room."""
        with self._lock:
            now_s = self._clock()
            while self._sent and self._sent[0][0] <= now_s - WINDOW_S:
                self._sent.popleft()
            if sum(sent for _, sent in self._sent) + amount <= self.per_minute:
                self._sent.append((now_s, amount))
                return 0.0
            # Not longer than a full window, even for more than ever fits.
            return self._sent[0][0] + WINDOW_S - now_s if self._sent else WINDOW_S


@cache
def pace_of(model: str, per_minute: int, timing: Timing) -> Pace:  # noqa: ARG001 - of that model
    """The pace of a model in this process: a reload of the router file goes on with it."""
    return Pace(per_minute, timing)


def delay_s(attempt: int, retry_after_s: float) -> float:
    """The wait after a failed attempt (from 1): what the server asked, and full jitter."""
    jitter_s = random.uniform(0, BASE_DELAY_S * 2 ** (attempt - 1))  # noqa: S311 - no secret
    return retry_after_s + jitter_s
