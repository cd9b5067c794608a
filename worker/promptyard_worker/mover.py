"""Sends parked jobs on when what they wait for is over: a pause, an open breaker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from promptyard.names import Tier
from promptyard.store import AsyncStore, breakers, fleet, jobs, parking, pauses
from promptyard.store.parking import Parked

if TYPE_CHECKING:
    from promptyard_worker.routing.config import RouterConfig

log = logging.getLogger(__name__)

#: Jobs sent on in one step.
PAGE: Final = 500
#: Jobs sent on from one place in one look.
MOST: Final = 10_000
#: No more are sent to a queue that is longer than this: its workers have enough.
FULL_QUEUE: Final = 5_000


class Mover:
    """Looks after parked jobs.

    Args:
        store: where they are.
        config: gives the router file in force: a job whose model is down may go on as soon as
            another of its chain is there.
    """

    def __init__(self, store: AsyncStore, config: Callable[[], RouterConfig]) -> None:
        self._store = store
        self._config = config

    async def look(self, now_s: float) -> int:
        """Send on what may go; gives how many jobs. ``now_s`` is Redis' time."""
        sent = 0
        for place in await self._store.do(parking.places()):
            if limit := await self._allowed(place, now_s):
                sent += await self._send(place, limit)
        if sent:
            log.info("Sent %d parked jobs on.", sent)
        return sent

    async def _allowed(self, place: str, now_s: float) -> int:
        """How many jobs of a place may go on now."""
        kind, _, name = place.partition(":")
        if await self._store.do(pauses.is_paused(place)):
            return 0
        return await self._past_breaker(name, now_s) if kind == "model" else MOST

    async def _past_breaker(self, model: str, now_s: float) -> int:
        """All once the model, or another that would do, is there again; one to try it out."""
        own = await self._store.do(breakers.breaker(model))
        if own is None:
            return MOST
        if own.lets_one_try(datetime.fromtimestamp(now_s, UTC)):
            return 1
        config = self._config()
        if model not in config.models:
            return 0
        if config.breaker_of(model).when_open == "fallback":
            others = [name for name in config.fallback_chain(model) if name != model]
            found = await self._store.do_many([breakers.breaker(name) for name in others])
            if not all(found):
                return MOST
        # those whose patience is over go on too: they end, and say what they waited for
        patience_s = config.retry_of(model).give_up_after_s
        place = parking.model_place(model)
        return await self._store.do(parking.parked_before(place, now_s - patience_s))

    async def _send(self, place: str, limit: int) -> int:
        sent = 0
        while sent < limit:
            ids = await self._store.do(parking.parked_jobs(place, limit=min(PAGE, limit - sent)))
            if not ids:
                break
            fields = await self._store.do_many(
                [jobs.job_fields(job_id, "tier", "priority") for job_id in ids]
            )
            page = [
                Parked(job_id, (tier or b"").decode() or Tier.FLASH, int(priority or 0))
                for job_id, (tier, priority) in zip(ids, fields, strict=True)
            ]
            sent += await self._store.do(parking.unpark(place, page))
            if await self._is_full(page[-1]):
                break
        return sent

    async def _is_full(self, job: Parked) -> bool:
        return await self._store.do(fleet.queue_length(job.tier, job.priority)) > FULL_QUEUE
