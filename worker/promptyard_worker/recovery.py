"""Leases: a worker that lives renews them; jobs of one that died go back to their queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from promptyard.errors import StoreError
from promptyard.job import Attempt, ErrorType, JobError, JobState
from promptyard.store import AsyncStore, Call, jobs, running
from promptyard.store.records import Ending
from promptyard_worker.observe.ended import Ended

if TYPE_CHECKING:
    from promptyard_worker.clock import Clock
    from promptyard_worker.observe.observer import Observer

log = logging.getLogger(__name__)

#: Renewals in one lease time.
BEATS_PER_LEASE: Final = 4
#: Jobs put back in one look.
REAP_LIMIT: Final = 200
_POISON: Final = 2


class Leases:
    """The leases of one process, renewed together."""

    def __init__(self, store: AsyncStore, *, lease_s: float) -> None:
        self._store = store
        self.lease_s = lease_s
        self._held: set[str] = set()

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, job_id: str) -> Iterator[None]:
        """Renew a job's lease while the block runs."""
        self._held.add(job_id)
        try:
            yield
        finally:
            self._held.discard(job_id)

    def renewals(self, now_s: float) -> list[Call[Any]]:
        """Renew every lease held here, in one command; ``now_s`` is Redis' time."""
        held = list(self._held)
        return [running.renew(held, now_s + self.lease_s)] if held else []


async def keep(
    store: AsyncStore,
    *,
    lease_s: float,
    clock: Clock,
    beat: Callable[[float], Sequence[Call[Any]]],
) -> None:
    """The beat of every worker: what is to be renewed and told, until cancelled.

    Args:
        store: told; one that is away is tried again.
        lease_s: of a job.
        clock: set to Redis' time.
        beat: gives what to say at Redis' time.
    """
    while True:
        try:
            now_s = await store.do(jobs.time_s())
            clock.set(now_s)
            if calls := beat(now_s):
                await store.do_many(calls)
        except StoreError as error:
            log.warning("Leases could not be renewed; trying again. %s", error)
        await asyncio.sleep(lease_s / BEATS_PER_LEASE)


class Reaper:
    """Puts back jobs whose lease has run out; ends those that kill worker after worker.

    Args:
        store: where they are.
        max_worker_lost: gives how many workers a model's job may lose.
        retention_s: how long an ended job's record is kept.
        observer: is told.
    """

    def __init__(
        self,
        store: AsyncStore,
        *,
        max_worker_lost: Callable[[str], int],
        retention_s: float,
        observer: Observer,
    ) -> None:
        self._store = store
        self._observer = observer
        self._max_worker_lost = max_worker_lost
        self._retention_s = retention_s

    async def reap(self, now_s: float) -> int:
        """Look once; gives how many jobs went back. ``now_s`` is Redis' time."""
        lost = await self._store.do(running.leases_run_out(now_s, limit=REAP_LIMIT))
        if not lost:
            return 0
        fields = await self._store.do_many(
            [jobs.job_fields(job_id, "tier", "model", "priority", "claimed") for job_id in lost]
        )
        moved = await self._store.do_many(
            [
                self._requeue(job_id, *found, now_s=now_s)
                for job_id, found in zip(lost, fields, strict=True)
            ]
        )
        for job_id, verdict in zip(lost, moved, strict=True):
            if verdict == _POISON:
                log.error("Job %s is poison: it failed, worker after worker died with it.", job_id)
                self._observer.ended(poisoned(job_id, now_s))
        self._observer.reaped(count := sum(map(bool, moved)))
        if count:
            log.warning("Put back %d jobs whose worker had been silent too long.", count)
        return count

    def _requeue(
        self,
        job_id: str,
        tier: bytes | None,
        model: bytes | None,
        priority: bytes | None,
        claimed: bytes | None,
        *,
        now_s: float,
    ) -> Call[int]:
        started_s = float(claimed or now_s)
        name = (model or b"").decode()
        most = self._max_worker_lost(name)
        attempt = Attempt(
            model=name,
            started=datetime.fromtimestamp(started_s, UTC),
            duration_s=max(now_s - started_s, 0.0),
            error=JobError(
                type=ErrorType.WORKER_LOST, message="The worker that held the job fell silent."
            ),
        )
        return running.requeue(
            job_id,
            tier=(tier or b"").decode(),
            priority=int(priority or 0),
            attempt=attempt,
            max_worker_lost=most,
            poison=Ending(error=poison(most)),
            retention_s=self._retention_s,
        )


def poisoned(job_id: str, now_s: float) -> Ended:
    """A job that ended so."""
    return Ended(job_id=job_id, state=JobState.FAILED, error=ErrorType.POISON, finished_s=now_s)


def poison(workers: int) -> JobError:
    """The error of a job in whose hands that many workers died."""
    return JobError(
        type=ErrorType.POISON,
        message=f"{workers} workers died or fell silent while they had this job, so it is not "
        f"tried again by itself. See their logs; `promptyard retry` puts it back.",
    )
