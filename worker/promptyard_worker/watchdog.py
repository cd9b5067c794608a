"""Ends a worker that has gone deaf, so that its supervisor starts it again.

kombu's consumer has been seen to stop taking messages after a reconnect, in a process that lives
on and looks well: celery #8030, #9054 and #10502, kombu #2492 and #2582 are mended in 5.7, and
one report has come since. A worker that is idle takes a message as soon as there is one; one that
holds nothing, and leaves one and the same message where it is, look after look, does not hear.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from typing import Final

from celery.worker import state

from promptyard.errors import StoreError
from promptyard.names import PRIORITIES
from promptyard.store import AsyncStore, fleet, waiting

log = logging.getLogger(__name__)

#: Looks in the time that a message may wait. All must see the same: a process that was stopped
#: (SIGSTOP, a sleeping laptop) finds an old message too, but hears it at once.
_LOOKS: Final = 6

_Place = tuple[str, int]


class Watchdog:
    """Watches whether this process takes messages.

    Args:
        store: where the queues are.
        queues: those that the process consumes.
        patience_s: how long a message may stay at the head of a queue while the worker is idle.
    """

    def __init__(self, store: AsyncStore, *, queues: Sequence[str], patience_s: float) -> None:
        self._store = store
        self._places: list[_Place] = [(queue, level) for queue in queues for level in PRIORITIES]
        self._patience_s = patience_s
        self._taken = -1
        #: The job at the head of each queue, and in how many looks on end it was there.
        self._heads: dict[_Place, tuple[str, int]] = {}

    async def watch(self) -> None:
        """Look until cancelled, or until the worker is found deaf: then end the process."""
        while True:
            await asyncio.sleep(self._patience_s / _LOOKS)
            await self._look()
            for (queue, _), (_, looks) in self._heads.items():
                if looks > _LOOKS:
                    await self._end(queue)

    async def _look(self) -> None:
        taken = state.all_total_count[0]
        # held, or kept for a retry; or on its way out
        busy = bool(state.requests) or taken != self._taken or state.should_stop is not None
        self._taken = taken
        heads = {} if busy else await self._read()
        before = self._heads
        self._heads = {
            place: (head, before[place][1] + 1 if before.get(place, ("", 0))[0] == head else 1)
            for place, head in heads.items()
        }

    async def _read(self) -> dict[_Place, str]:
        """The job at the head of each queue that has one; nothing if Redis is not well."""
        try:
            # a write: while a failover goes on, reads are answered and BRPOP is refused
            await self._store.do(fleet.keep_cards())
            found = await self._store.do_many([waiting.next_job(*place) for place in self._places])
        except StoreError:
            return {}
        return {place: head for place, head in zip(self._places, found, strict=True) if head}

    async def _end(self, queue: str) -> None:
        log.error(
            "A message has waited in %s for %g s, and this worker, which holds none, does not take "
            "it: it ends, so that its supervisor starts it again.",
            queue,
            self._patience_s,
        )
        # to the main thread, which it wakes where it waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        await asyncio.sleep(self._patience_s)  # cut short as the loop closes
        os.kill(os.getpid(), signal.SIGKILL)  # the main thread is stuck; no job is in its hands
