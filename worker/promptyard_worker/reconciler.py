"""Finds jobs that nobody will take: their message is gone, and is sent again.

A message can die with its job unharmed: kombu takes it from the list and notes it as
unacknowledged in two steps, a worker dies with a message or a countdown in its memory, a Redis
comes back from an older file. Celery would deliver some of these after its visibility timeout,
and some never.

Queues are first in, first out within a priority. So a job that waits since before the one whose
message is taken next has no message in the list any more; when it has waited for longer than a
worker may be silent, nobody has it in hand either. Parked jobs (parking.py) and chunks in hand
(chunks.py) do not wait for a message, and are not in the index.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from promptyard.names import PRIORITIES, QUEUES
from promptyard.store import AsyncStore, waiting

if TYPE_CHECKING:
    from promptyard_worker.chunks import ChunkReaper

log = logging.getLogger(__name__)

#: Jobs of one queue and priority sent again in one look.
LIMIT: Final = 1024
#: Messages at the front of a queue that are looked at before any is missed: retries, and
#: messages that a worker gave back when it ended, do not stand in the order of their jobs.
FRONT: Final = 256
#: Part of the patience after which a job may be missed; one look later the patience is over.
_FIRST_LOOK: Final = 3 / 4

Place = tuple[str, int]
_PLACES: Final[list[Place]] = [(queue, priority) for queue in QUEUES for priority in PRIORITIES]


class Reconciler:
    """Looks for lost messages, and has lost chunks looked for.

    A message is lost when it is missed in two looks. In a busy yard some are missed in every
    look: they have just left the list, and their jobs are about to be claimed.

    Args:
        store: where they are.
        patience_s: a worker that is silent for so long has lost its messages.
        chunks: puts lost chunks back.
    """

    def __init__(self, store: AsyncStore, *, patience_s: float, chunks: ChunkReaper) -> None:
        self._store = store
        self._patience_s = patience_s
        self._chunks = chunks
        self._missed: dict[Place, set[str]] = {}

    async def look(self, now_s: float) -> int:
        """Send jobs again that nobody will take; gives how many.

        Args:
            now_s: Redis' time, a fourth of the patience or more after the last look.
        """
        return await self._chunks.reap(now_s) + await self._look_for_messages(now_s)

    async def _look_for_messages(self, now_s: float) -> int:
        before, self._missed = self._missed, {}
        sent = 0
        for place, bound_s in await self._suspicious(now_s - self._patience_s * _FIRST_LOOK):
            missed = await self._missing(place, bound_s)
            self._missed[place] = set(missed)
            lost = [job_id for job_id in missed if job_id in before.get(place, ())]
            calls = waiting.announcements(*place, lost, cutoff_s=bound_s)
            sent += sum(await self._store.do_many(calls), 0)
        if sent:
            log.warning("Sent again the messages of %d jobs, which were lost.", sent)
        return sent

    async def _suspicious(self, cutoff_s: float) -> list[tuple[Place, float]]:
        """Where a job waits since before it should, and since before when it should not."""
        bounds_s = await self._bounds_s(cutoff_s)
        oldest = await self._store.do_many(
            [
                waiting.waiting_before(*place, bound_s, limit=1)
                for place, bound_s in bounds_s.items()
            ]
        )
        return [item for item, found in zip(bounds_s.items(), oldest, strict=True) if found]

    async def _bounds_s(self, cutoff_s: float) -> dict[Place, float]:
        """Since before when a job must wait to have no message in its queue."""
        heads = await self._store.do_many([waiting.next_job(*place) for place in _PLACES])
        upcoming = [(place, head) for place, head in zip(_PLACES, heads, strict=True) if head]
        since_s = await self._store.do_many(
            [waiting.waits_since(*place, [head]) for place, head in upcoming]
        )
        bounds_s = dict.fromkeys(_PLACES, cutoff_s)
        for (place, _), (head_s,) in zip(upcoming, since_s, strict=True):
            if head_s is None:
                del bounds_s[place]  # it has moved on since; the next look tells more
            else:
                bounds_s[place] = min(cutoff_s, head_s)
        return bounds_s

    async def _missing(self, place: Place, bound_s: float) -> list[str]:
        """Jobs that wait since before all of the front."""
        front = await self._store.do(waiting.next_jobs(*place, limit=FRONT))
        since_s = await self._store.do(waiting.waits_since(*place, front)) if front else []
        earliest_s = min((since for since in since_s if since is not None), default=bound_s)
        return await self._store.do(
            waiting.waiting_before(*place, min(bound_s, earliest_s), limit=LIMIT)
        )
