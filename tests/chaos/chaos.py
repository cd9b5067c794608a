"""Kills workers and Redis, and keeps account of it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from promptyard.child import Child
from promptyard.errors import StoreError
from promptyard.names import CLASSIFY_QUEUE, Tier
from tests.chaos.watch import Watch
from tests.process.conftest import RestartableServer, Yard, kill

#: Seconds between two kills of workers.
PAUSE_S: Final = (2.0, 4.0)
#: At these shares of the work, or of the time, Redis is killed.
REDIS_AT: Final = (0.2, 0.5)
#: Seconds for which it is away the first time.
AWAY_S: Final = (0.5, 2.0)
#: The second time it is away for so many lease times, so that every lease runs out.
LONG_AWAY: Final = 1.2
#: At this share of the work the chaos is over.
ENOUGH: Final = 0.9
_TIERS: Final = tuple(tier.value for tier in Tier)
#: The queues of each worker.
CREW: Final = ((CLASSIFY_QUEUE,), _TIERS, _TIERS, _TIERS)


@dataclass(frozen=True)
class Kill:
    """A worker that was killed. Times are ``time.monotonic``."""

    worker: str
    at_s: float


@dataclass(frozen=True)
class Outage:
    """A time without Redis."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class _Worker:
    name: str
    child: Child
    queues: Sequence[str]


class Chaos:
    """The crew of a yard, and what happens to it.

    Args:
        yard: has no workers yet.
        redis_server: what is killed beside workers.
        watch: the stand-in.
        rng: decides who is killed, and when.
        concurrency: calls at once of a worker.
        lease_s: of the workers.
    """

    def __init__(
        self,
        yard: Yard,
        redis_server: RestartableServer,
        watch: Watch,
        rng: random.Random,
        *,
        concurrency: int,
        lease_s: float,
    ) -> None:
        self._yard = yard
        self._redis = redis_server
        self._watch = watch
        self._rng = rng
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._workers: list[_Worker] = []
        self._launched = 0
        self._clock = threading.Event()  # never set: paces the kills
        self.kills: list[Kill] = []
        self.outages: list[Outage] = []

    def start(self) -> None:
        """Start the crew and wait until it is at work."""
        for queues in CREW:
            self._launch(queues)
        self._yard.ready(*(worker.child for worker in self._workers))

    def rage(self, progress: Callable[[], float], *, at_most_s: float) -> None:
        """Kill until enough of the work is done, or for so long."""
        start_s = time.monotonic()

        def is_past(share: float) -> bool:
            return progress() >= share or time.monotonic() - start_s >= share * at_most_s

        while not (progress() >= ENOUGH or is_past(1)):
            self._clock.wait(self._rng.uniform(*PAUSE_S))
            if len(self.outages) < len(REDIS_AT) and is_past(REDIS_AT[len(self.outages)]):
                self._kill_redis()
            self._kill_worker()
        self._supervise()

    def _supervise(self) -> None:
        """A worker that finds no Redis as it starts ends and says so; start it again."""
        for one in [one for one in self._workers if one.child.poll() is not None]:
            assert one.child.poll() == StoreError.exit_code, one.child.tail()
            self._workers.remove(one)
            self._launch(one.queues)

    def _launch(self, queues: Sequence[str]) -> None:
        name = f"worker-{self._launched}"
        self._launched += 1
        child = self._yard.launch(
            *queues,
            concurrency=1 if queues == (CLASSIFY_QUEUE,) else self._concurrency,
            environ={"GOOGLE_GEMINI_BASE_URL": self._watch.url(name)},
        )
        self._workers.append(_Worker(name, child, queues))

    def _kill_worker(self) -> None:
        self._supervise()
        victim = self._workers.pop(self._rng.randrange(len(self._workers)))
        self.kills.append(Kill(victim.name, time.monotonic()))
        kill(victim.child)
        self._launch(victim.queues)

    def _kill_redis(self) -> None:
        """The second time for long; a worker dies meanwhile, with answers it could not record."""
        start_s = time.monotonic()
        self._redis.kill()
        if self.outages:
            half_s = LONG_AWAY * self._lease_s / 2
            self._clock.wait(half_s)
            self._kill_worker()
            self._clock.wait(half_s)
        else:
            self._clock.wait(self._rng.uniform(*AWAY_S))
        self._redis.start()
        self.outages.append(Outage(start_s, time.monotonic()))
