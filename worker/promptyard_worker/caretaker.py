"""What one worker at a time does for all: reap, reconcile, move parked jobs on.

Every worker stands ready; a lock in Redis with a short life says whose turn it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import Final

from promptyard.errors import StoreError
from promptyard.store import AsyncStore, fleet, jobs
from promptyard_worker.mover import Mover
from promptyard_worker.reconciler import Reconciler
from promptyard_worker.recovery import Reaper

log = logging.getLogger(__name__)

#: Time between two rounds; who resumes a batch does not wait longer.
ROUND_S: Final = 1.0
#: Looks for dead workers' jobs and lost messages in one lease time.
LOOKS_PER_LEASE: Final = 4
#: After an outage a worker may notice so much later than another that Redis is there again: its
#: store waits longer between tries.
LATE_S: Final = 4.0
#: A caretaker that is silent for so many rounds is replaced.
_LOCK_ROUNDS: Final = 3


class Caretaker:
    """One worker's readiness to look after what others left."""

    def __init__(
        self,
        store: AsyncStore,
        *,
        reaper: Reaper,
        reconciler: Reconciler,
        mover: Mover,
        lease_s: float,
    ) -> None:
        self._store = store
        self._reaper = reaper
        self._reconciler = reconciler
        self._mover = mover
        self._lease_s = lease_s
        self._name = uuid.uuid4().hex

    async def tend(self) -> None:
        """Go on until cancelled; a Redis that is away is tried again."""
        round_s = min(ROUND_S, self._lease_s / LOOKS_PER_LEASE)
        look_every_s = self._lease_s / LOOKS_PER_LEASE
        reap_from_s = looked_s = last_s = time.monotonic()
        while True:
            await asyncio.sleep(round_s)
            try:
                now_s = await self._store.do(jobs.time_s())
                # After an outage every lease has run out. The living need time to renew theirs
                # before anyone takes their jobs, whose calls would be paid twice. An outage
                # shows as a long round, for the store's own retries may hide it.
                if time.monotonic() - last_s > round_s + look_every_s:
                    reap_from_s = time.monotonic() + self._lease_s + LATE_S
                last_s = time.monotonic()
                lock_s = _LOCK_ROUNDS * round_s
                if not await self._store.do(fleet.take_care(self._name, for_s=lock_s)):
                    continue
                await self._mover.look(now_s)
                if last_s < reap_from_s:
                    continue
                await self._reaper.reap(now_s)
                if last_s >= looked_s + look_every_s:
                    looked_s = last_s
                    await self._reconciler.look(now_s)
            except StoreError as error:
                log.warning("Nobody is looked after without Redis; trying again. %s", error)
