"""What there is to see of a yard at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from promptyard.batch import BatchStatus
from promptyard.names import PRIORITIES, QUEUES
from promptyard.store import Call, fleet, jobs, waiting

if TYPE_CHECKING:
    from promptyard.catalog import Catalog
    from promptyard.producer import Producer
    from promptyard.store import Store
    from promptyard.store.health import ModelHealth
    from promptyard.store.presence import WorkerCard

#: Recent batches that are looked at.
BATCHES: Final = 50


@dataclass(frozen=True)
class QueueLook:
    """One queue."""

    name: str
    #: Jobs.
    waiting: int
    #: How long the one that waits longest does; None if none waits.
    oldest_s: float | None
    workers: int
    #: Tasks that its workers run at once.
    slots: int


@dataclass(frozen=True)
class Look:
    """A yard at one moment."""

    #: Redis' clock.
    at_s: float
    queues: tuple[QueueLook, ...]
    in_flight: int
    models: tuple[ModelHealth, ...]
    #: None before the first worker.
    catalog: Catalog | None
    #: Newest first.
    batches: tuple[BatchStatus, ...]

    @property
    def slots(self) -> int:
        """Calls that the workers of the tiers can have in flight."""
        return sum(queue.slots for queue in self.queues[1:])

    @property
    def parked(self) -> int:
        """Jobs that wait for a model without a message."""
        return sum(model.parked for model in self.models)


def take_look(producer: Producer, store: Store) -> Look:
    """Look at everything once.

    Raises:
        StoreError: Redis is away.
    """
    now_s = store.do(jobs.time_s())
    cards = producer.workers()
    calls: list[Call[Any]] = [
        call
        for queue in QUEUES
        for priority in PRIORITIES
        for call in (waiting.waiting_count(queue, priority), waiting.oldest_since(queue, priority))
    ]
    answers = iter(store.do_many(calls))
    return Look(
        at_s=now_s,
        queues=tuple(
            _queue(queue, [(next(answers), next(answers)) for _ in PRIORITIES], cards, now_s)
            for queue in QUEUES
        ),
        in_flight=store.do(fleet.in_flight()),
        models=tuple(producer.models()),
        catalog=producer.catalog(),
        batches=tuple(producer.batches(BATCHES)),
    )


def _queue(
    name: str,
    found: list[tuple[int, float | None]],
    cards: list[WorkerCard],
    now_s: float,
) -> QueueLook:
    since = min((since_s for _, since_s in found if since_s is not None), default=None)
    mine = [card for card in cards if name in card.queues]
    return QueueLook(
        name,
        waiting=sum(count for count, _ in found),
        oldest_s=None if since is None else max(0.0, now_s - since),
        workers=len(mine),
        slots=sum(card.concurrency for card in mine),
    )
