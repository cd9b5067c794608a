"""Shuts the queue of a tier whose jobs wait for quota, in a worker that takes from others too.

A job that waits for its model's quota keeps its slot, for its place in the line. In a worker of one
queue nobody else could use that slot. In a worker of several, the jobs of one tight quota would
fill every slot, one by one, and hold up all others: 300 jobs of flash took 129 s beside 150 of pro
at one a second, and take 19 with this. So each queue may have its share of the slots for waiting;
beyond that the worker takes nothing from it, and gives back what is too much, until half of the
share is free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from celery.worker import state
from kombu.transport.virtual.base import W_NO_CONSUMERS

from promptyard.names import CLASSIFY_QUEUE, Tier

if TYPE_CHECKING:
    from promptyard_worker.quota.limiter import Limiter

log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.25
#: Waiting for less holds nobody up. A queue that is opened may take a second to be heard (kombu's
#: BRPOP is out on the others): half of a share must last for that long.
_HELD_UP_S: Final = 2.0


class Valve:
    """Opens and shuts one worker's queues; lives on the event loop of its limiter.

    Args:
        consumer: Celery's, of the worker; its ``call_soon`` may be called from any thread.
        limiter: knows what waits.
        queues: that the worker takes from.
        slots: jobs it holds at once.
    """

    def __init__(
        self, consumer: Any, limiter: Limiter, *, queues: Sequence[str], slots: int
    ) -> None:
        self._consumer = consumer
        self._limiter = limiter
        self._tiers = [Tier(queue) for queue in queues if queue != CLASSIFY_QUEUE]
        self._share = max(1, slots // len(queues))
        self._shut: set[Tier] = set()

    async def watch(self) -> None:
        """Look until cancelled, or until the worker is told to stop: then none is opened again."""
        logging.getLogger("kombu.transport.virtual.base").addFilter(_is_news)
        while state.should_stop is None:
            for tier in self._tiers:
                self._look(tier)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _look(self, tier: Tier) -> None:
        held_up = self._limiter.held_up(tier, for_s=_HELD_UP_S)
        if held_up >= self._share:
            self._limiter.shed(tier, held_up - self._share)
            if tier not in self._shut:
                log.info("Jobs of %s wait for quota; none is taken until some have gone.", tier)
                self._shut.add(tier)
                self._consumer.call_soon(self._leave, tier.value)
        elif tier in self._shut and held_up <= self._share // 2:
            self._shut.discard(tier)
            self._consumer.call_soon(self._join, tier.value)

    # on the consumer's thread; what is selected is what it takes from after a reconnect, too

    def _leave(self, queue: str) -> None:
        self._consumer.app.amqp.queues.deselect(queue)
        if (taking := self._consumer.task_consumer) is not None:  # None: it reconnects
            taking.cancel_by_queue(queue)

    def _join(self, queue: str) -> None:
        queues = self._consumer.app.amqp.queues
        found = queues.select_add(queues[queue])
        if (taking := self._consumer.task_consumer) is not None:
            taking.add_queue(found)
            taking.consume()


def _is_news(record: logging.LogRecord) -> bool:
    """What was on its way when its queue was shut goes back to it; kombu warns of that."""
    return record.msg != W_NO_CONSUMERS
