"""Finds jobs whose message is gone, and sends it again.

A message can die with its job unharmed: kombu takes it from the list and notes it as
unacknowledged in two steps, a worker dies with a chunk or a countdown in its memory, a Redis
comes back from an older file. Celery would deliver some of these after its visibility timeout,
and some never.

Queues are first in, first out within a priority. So a job whose message must have been pushed
before the one that is taken next has no message in the list any more; when it has waited for
longer than a worker may be silent, nobody has it in hand either.
"""

from __future__ import annotations

import logging
from typing import Final

from promptyard.names import QUEUES
from promptyard.store import AsyncStore, waiting

log = logging.getLogger(__name__)

#: Jobs of one queue and priority sent again in one look.
LIMIT: Final = 1024
_PLACES: Final = [(queue, priority) for queue in QUEUES for priority in range(10)]


class Reconciler:
    """Looks for lost messages; every worker has one, and a script lets one of them act."""

    def __init__(self, store: AsyncStore, *, patience_s: float) -> None:
        self._store = store
        self._patience_s = patience_s

    async def look(self, now_s: float) -> int:
        """Send lost messages again; gives how many jobs. ``now_s`` is Redis' time."""
        cutoff_s = now_s - self._patience_s
        found = await self._store.do_many(
            [
                waiting.waiting_before(queue, priority, cutoff_s, limit=LIMIT)
                for queue, priority in _PLACES
            ]
        )
        sent = 0
        for (queue, priority), jobs in zip(_PLACES, found, strict=True):
            if jobs:
                sent += await self._look_at(queue, priority, jobs, cutoff_s)
        if sent:
            log.warning("Sent again the messages of %d jobs, which were lost.", sent)
        return sent

    async def _look_at(
        self, queue: str, priority: int, jobs: list[tuple[str, float]], cutoff_s: float
    ) -> int:
        upcoming = await self._store.do(waiting.next_job(queue, priority))
        if upcoming is not None:
            since_s = await self._store.do(waiting.waits_since(queue, priority, upcoming))
            if since_s is None:
                return 0  # it has moved on since; the next look tells more
            jobs = [(job_id, since) for job_id, since in jobs if since < since_s]
        ids = [job_id for job_id, _ in jobs]
        calls = waiting.announcements(queue, priority, ids, cutoff_s=cutoff_s)
        return sum(await self._store.do_many(calls), 0)
