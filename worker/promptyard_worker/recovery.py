"""Leases: a worker that lives renews them; jobs of one that died go back to their queue.

``keep`` is the beat of every worker: renew, reap, and let the reconciler look.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from promptyard.errors import StoreError
from promptyard.job import Attempt, ErrorType, JobError
from promptyard.store import AsyncStore, Call, jobs
from promptyard_worker.reconciler import Reconciler

log = logging.getLogger(__name__)

#: Renewals and looks for dead workers' jobs in one lease time.
BEATS_PER_LEASE: Final = 4
#: Jobs put back in one look.
REAP_LIMIT: Final = 200


class Leases:
    """The leases of one process, renewed together, and the look for others' lost ones."""

    def __init__(self, store: AsyncStore, *, lease_s: float) -> None:
        self._store = store
        self.lease_s = lease_s
        self._held: set[str] = set()

    @contextmanager
    def hold(self, job_id: str) -> Iterator[None]:
        """Renew a job's lease while the block runs."""
        self._held.add(job_id)
        try:
            yield
        finally:
            self._held.discard(job_id)

    async def renew(self, now_s: float) -> None:
        """Renew every lease held here, in one command; ``now_s`` is Redis' time."""
        if held := list(self._held):
            await self._store.do(jobs.renew(held, now_s + self.lease_s))

    async def reap(self, now_s: float) -> int:
        """Put back jobs whose lease has run out by ``now_s``; returns how many."""
        lost = await self._store.do(jobs.leases_run_out(now_s, limit=REAP_LIMIT))
        if not lost:
            return 0
        fields = await self._store.do_many(
            [jobs.job_fields(job_id, "tier", "model", "priority", "claimed") for job_id in lost]
        )
        moved = await self._store.do_many(
            [
                _requeue(job_id, *found, now_s=now_s)
                for job_id, found in zip(lost, fields, strict=True)
            ]
        )
        count = sum(moved, 0)
        if count:
            log.warning("Put back %d jobs whose worker had been silent too long.", count)
        return count


async def keep(store: AsyncStore, leases: Leases, reconciler: Reconciler) -> None:
    """Renew, reap and reconcile until cancelled; a Redis that is away is tried again."""
    beat_s = leases.lease_s / BEATS_PER_LEASE
    last_s = time.monotonic()
    reap_from_s = last_s
    while True:
        await asyncio.sleep(beat_s)
        try:
            now_s = await store.do(jobs.time_s())
            # After an outage every lease has run out. The living need time to renew theirs
            # before anyone takes their jobs, whose calls would be paid twice. An outage
            # shows as a long beat, for the store's own retries may hide it.
            if time.monotonic() - last_s > 2 * beat_s:
                reap_from_s = time.monotonic() + leases.lease_s
            last_s = time.monotonic()
            await leases.renew(now_s)
            if last_s >= reap_from_s:
                await leases.reap(now_s)
                await reconciler.look(now_s)
        except StoreError as error:
            log.warning("Leases could not be renewed; trying again. %s", error)


def _requeue(
    job_id: str,
    tier: bytes | None,
    model: bytes | None,
    priority: bytes | None,
    claimed: bytes | None,
    *,
    now_s: float,
) -> Call[bool]:
    started_s = float(claimed or now_s)
    attempt = Attempt(
        model=(model or b"").decode(),
        started=datetime.fromtimestamp(started_s, UTC),
        duration_s=max(now_s - started_s, 0.0),
        error=JobError(
            type=ErrorType.WORKER_LOST, message="The worker that held the job fell silent."
        ),
    )
    return jobs.requeue(
        job_id, tier=(tier or b"").decode(), priority=int(priority or 0), attempt=attempt
    )
