"""Chunks in the hands of classify workers: leases, as jobs of the tiers have them (recovery.py)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from promptyard.errors import StoreError
from promptyard.store import AsyncStore, Call, jobs, taking
from promptyard.store.records import Ending
from promptyard_worker.recovery import poison, poisoned

if TYPE_CHECKING:
    from promptyard_worker.observe.observer import Observer

log = logging.getLogger(__name__)

#: How long a chunk that is given back waits when Redis does not answer it.
STORE_RETRY_S: Final = 2.0
#: Jobs put back in one look.
REAP_LIMIT: Final = 1024
#: A worker that is lost with a whole chunk accuses none of its jobs; the next one had it alone.
LEAST_LOST: Final = 2
_POISON: Final = 2


@dataclass(frozen=True)
class Chunk:
    """The jobs of one message, in somebody's hands."""

    token: str
    job_ids: Sequence[str]
    priority: int


class Chunks:
    """The chunks that this process routes now; safe between threads.

    Args:
        store: where their leases are.
        lease_s: a worker that is silent for so long has lost its chunks.
    """

    def __init__(self, store: AsyncStore, *, lease_s: float) -> None:
        self._store = store
        self.lease_s = lease_s
        self._turn = threading.Condition()
        self._held: tuple[Chunk, ...] = ()
        #: Chunks that are the only one in hand, or wait to be.
        self._loners = 0

    @contextmanager
    def hold(self, chunk: Chunk, *, alone: bool) -> Iterator[None]:
        """Renew a chunk's lease while the block runs.

        ``alone``: while no other block does, so that a prompt that ends the process takes no
        other chunk along.
        """
        with self._turn:
            self._loners += alone
            self._turn.wait_for(lambda: not (self._held if alone else self._loners))
            self._held = (*self._held, chunk)
        try:
            yield
        finally:
            with self._turn:
                self._loners -= alone
                self._held = tuple(other for other in self._held if other is not chunk)
                self._turn.notify_all()

    def renewals(self, now_s: float) -> list[Call[Any]]:
        """Renew the leases of all, in one command; ``now_s`` is Redis' time."""
        held = [job_id for chunk in self._held for job_id in chunk.job_ids]
        return [taking.renew(held, now_s + self.lease_s)] if held else []

    async def give_back(self, chunk: Chunk, *, delay_s: float) -> None:
        """Put back what could not be routed now, however long Redis is away."""
        while True:
            try:
                await self._store.do(taking.give_back(chunk.job_ids, chunk.token, delay_s=delay_s))
            except StoreError as error:
                log.warning("A chunk is given back once Redis is there: %s", error)
                await asyncio.sleep(STORE_RETRY_S)
            else:
                return

    async def hand_over(self) -> int:
        """Send all that is in hand to other workers; gives how many jobs.

        Raises:
            StoreError: Redis is away.
        """
        with self._turn:
            held, self._held = self._held, ()
        return sum(
            await self._store.do_many(
                [
                    taking.hand_over(chunk.job_ids, chunk.token, priority=chunk.priority)
                    for chunk in held
                ]
            )
        )


class ChunkReaper:
    """Puts back jobs whose classify worker fell silent; ends those that kill one after another.

    They go back one by one: whichever job it was that ended the worker is alone the next time,
    and the others are routed.

    Args:
        store: where they are.
        max_worker_lost: gives how many workers a model's job may lose ('' if it names none).
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
        lost = await self._store.do(taking.leases_run_out(now_s, limit=REAP_LIMIT))
        if not lost:
            return 0
        fields = await self._store.do_many(
            [jobs.job_fields(job_id, "model", "priority") for job_id in lost]
        )
        verdicts = await self._store.do_many(
            [self._recover(job_id, *found) for job_id, found in zip(lost, fields, strict=True)]
        )
        poisonous = [job for job, verdict in zip(lost, verdicts, strict=True) if verdict == _POISON]
        for job_id in poisonous:
            log.error("Job %s is poison: it failed, worker after worker died routing it.", job_id)
            self._observer.ended(poisoned(job_id, now_s))
        count = sum(map(bool, verdicts)) - len(poisonous)
        if count:
            log.warning("Put back %d jobs whose classify worker had been silent too long.", count)
        return count

    def _recover(self, job_id: str, model: bytes | None, priority: bytes | None) -> Call[int]:
        most = max(LEAST_LOST, self._max_worker_lost((model or b"").decode()))
        return taking.recover(
            job_id,
            priority=int(priority or 0),
            max_worker_lost=most,
            poison=Ending(error=poison(most)),
            retention_s=self._retention_s,
        )
