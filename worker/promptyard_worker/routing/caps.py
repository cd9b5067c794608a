"""What holds the judge back: its share of prompts, its purse, its rests after failures.

Each is a value that decides; the judge acts on it. All are safe to share between threads.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from promptyard.catalog import Price
from promptyard.job import Usage
from promptyard_worker.routing.services import Allowance
from promptyard_worker.routing.stages import JudgeConfig

Clock = Callable[[], float]

#: Prompts over which the share is counted: what was not used before them is forgotten, so
#: that a burst of hard prompts finds the credit of minutes, not of a day.
MEMORY_PROMPTS: Final = 4096

#: Failures in a row before the judge rests, how long it rests first, and at most.
FAILURES_BEFORE_REST: Final = 3
FIRST_REST_S: Final = 30.0
LONGEST_REST_S: Final = 300.0

_MINUTE_S: Final = 60.0
_DAY_S: Final = 86_400


@dataclass(slots=True)
class Grant:
    """How many prompts of one chunk the judge may see."""

    #: Prompts of the chunk, decided or not.
    arrived: int
    granted: int = 0


class Share:
    """Keeps the prompts that the judge sees to a share of all, rounded up to a whole prompt."""

    def __init__(self, share: float, *, memory_prompts: int = MEMORY_PROMPTS) -> None:
        self._share = share
        self._memory_prompts = memory_prompts
        self._lock = threading.Lock()
        self._grants: deque[Grant] = deque()
        self._arrived = 0
        self._granted = 0

    def take(self, *, arrived: int, wanted: int) -> Grant:
        """Let as many prompts through as the share allows.

        Args:
            arrived: prompts that have come since the last ``take``, decided or not.
            wanted: prompts of them (or of earlier ones) that the judge would see.
        """
        with self._lock:
            grant = Grant(arrived)
            self._grants.append(grant)
            self._arrived += arrived
            self._forget()
            room = math.ceil(self._share * self._arrived - 1e-9) - self._granted
            grant.granted = max(0, min(wanted, room))
            self._granted += grant.granted
            return grant

    def give_back(self, grant: Grant, unused: int) -> None:
        """Prompts of a grant that were not shown to the judge after all."""
        with self._lock:
            grant.granted -= unused
            if any(known is grant for known in self._grants):
                self._granted -= unused

    def _forget(self) -> None:
        while self._arrived - self._grants[0].arrived >= self._memory_prompts:
            old = self._grants.popleft()
            self._arrived -= old.arrived
            self._granted -= old.granted


class Rest:
    """Lets the judge rest after failures in a row, each time longer."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until_s = -math.inf
        self._next_s = FIRST_REST_S

    @property
    def is_on(self) -> bool:
        """Whether the judge is not to be asked now."""
        return self._clock() < self._until_s

    def succeeded(self) -> None:
        """The judge answered."""
        with self._lock:
            self._failures, self._next_s = 0, FIRST_REST_S

    def failed(self) -> float:
        """The judge failed; gives for how many seconds it rests now (0: it goes on)."""
        with self._lock:
            if self.is_on:  # asked before the rest began
                return 0.0
            self._failures += 1
            if self._failures < FAILURES_BEFORE_REST:
                return 0.0
            rest_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_REST_S)
            self._until_s = self._clock() + rest_s
            return rest_s


class Purse:
    """Takes calls from the allowance, and keeps its bill."""

    def __init__(self, allowance: Allowance, judge: JudgeConfig, price: Price) -> None:
        self._allowance = allowance
        self._calls_per_minute = judge.calls_per_minute
        self._most_usd = judge.max_cost_usd_per_day
        self._price = price
        self._lock = threading.Lock()

    def take(self, expected: Usage) -> float | None:
        """Take one call and put its expected cost on the bill; None if it is not allowed.

        Calls in flight are on the bill, so threads cannot overrun the day's limit together;
        workers can in the moment between the two steps, by one call each.
        """
        cost_usd = self._price.cost_usd(expected)
        left_usd = None if self._most_usd is None else self._most_usd - cost_usd
        with self._lock:
            if not self._allowance.ask(
                calls_per_minute=self._calls_per_minute, max_cost_usd_per_day=left_usd
            ):
                return None
            self._allowance.spent(cost_usd)
        return cost_usd

    def settle(self, expected_usd: float, usage: Usage) -> None:
        """Correct the bill once it is known what a call took."""
        self._allowance.spent(self._price.cost_usd(usage) - expected_usd)


class LocalAllowance:
    """The allowance of a process that shares it with no other."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()
        self._day = 0
        self._bill_usd = 0.0

    def ask(self, *, calls_per_minute: int, max_cost_usd_per_day: float | None) -> bool:
        """Take one call; False: not now (too many this minute, or the purse is empty)."""
        with self._lock:
            self._turn_page()
            now_s = self._clock()
            while self._calls and self._calls[0] <= now_s - _MINUTE_S:
                self._calls.popleft()
            if len(self._calls) >= calls_per_minute:
                return False
            if max_cost_usd_per_day is not None and self._bill_usd >= max_cost_usd_per_day:
                return False
            self._calls.append(now_s)
            return True

    def spent(self, cost_usd: float) -> None:
        """Put what a call cost on today's bill; a negative cost corrects an estimate."""
        with self._lock:
            self._turn_page()
            self._bill_usd += cost_usd

    def _turn_page(self) -> None:
        """A new day (UTC) begins with an empty bill."""
        today = int(self._clock() // _DAY_S)
        if today != self._day:
            self._day, self._bill_usd = today, 0.0
