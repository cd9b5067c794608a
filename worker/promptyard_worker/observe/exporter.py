"""What only the store knows, for Prometheus: queues, batches, quota, breakers, workers.

One exporter serves a whole yard. Everything is read when Prometheus asks; a store that is away
shows as ``promptyard_up`` 0.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from promptyard.batch import BatchState
from promptyard.errors import PromptyardError
from promptyard.names import PRIORITIES, QUEUES
from promptyard.store import fleet, jobs, judging, parking, waiting

if TYPE_CHECKING:
    from promptyard.catalog import Catalog
    from promptyard.producer import Producer
    from promptyard.store import Store
    from promptyard.store.health import ModelHealth

log = logging.getLogger(__name__)

#: What is exported: what it means, and its labels.
GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "promptyard_up": ("Whether the store answers.", ()),
    "promptyard_queue_depth": ("Messages that wait.", ("queue",)),
    "promptyard_queue_oldest_seconds": ("How long the oldest job has waited.", ("queue",)),
    "promptyard_parked_jobs": ("Jobs that wait without a message.", ("reason",)),
    "promptyard_batches": ("Recent batches.", ("state",)),
    "promptyard_open_jobs": ("Jobs of recent batches that have not ended.", ("state",)),
    "promptyard_breaker_state": ("0 closed, 1 half open, 2 open.", ("model", "reason")),
    "promptyard_workers": ("Workers that have shown themselves.", ("queue",)),
    "promptyard_worker_slots": ("Tasks they run at once.", ("queue",)),
    "promptyard_quota_used": ("Let through, of requests and tokens.", ("model", "quota")),
    "promptyard_quota_limit": (
        "By the router file; where it names none, as 429s have shown.",
        ("model", "quota"),
    ),
    "promptyard_quota_factor": ("Part of the limit that 429s have left.", ("model", "quota")),
    "promptyard_judge_day_cost_usd": ("What the judge has cost today (UTC).", ()),
}
#: Batches counted by state: the most recent ones.
BATCHES: Final = 1000
CLOSED, HALF_OPEN, OPEN = 0, 1, 2


class StoreCollector(Collector):
    """Asks the store at every scrape.

    Args:
        producer: asks for batches, models and workers.
        store: asks for queues.
    """

    def __init__(self, producer: Producer, store: Store) -> None:
        self._producer = producer
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would ask the store for it."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every metric, as of now."""
        up = _gauge("promptyard_up")
        try:
            found = [*self._queues(), *self._batches(), *self._models(), *self._workers()]
        except PromptyardError as error:
            log.warning("Nothing can be exported: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from found

    def _queues(self) -> Iterator[Metric]:
        depth = _gauge("promptyard_queue_depth")
        age = _gauge("promptyard_queue_oldest_seconds")
        now_s = self._store.do(jobs.time_s())
        for queue in QUEUES:
            lengths = self._store.do_many([fleet.queue_length(queue, n) for n in PRIORITIES])
            oldest = self._store.do_many([waiting.oldest_since(queue, n) for n in PRIORITIES])
            since = min((one for one in oldest if one is not None), default=now_s)
            depth.add_metric([queue], sum(lengths))
            age.add_metric([queue], max(0.0, now_s - since))
        yield depth
        yield age
        parked = _gauge("promptyard_parked_jobs")
        counts: Counter[str] = Counter({"batch": 0, "tier": 0, "model": 0})
        for place in self._store.do(parking.places()):
            counts[place.partition(":")[0]] += self._store.do(parking.parked_count(place))
        for reason, count in sorted(counts.items()):
            parked.add_metric([reason], count)
        yield parked

    def _batches(self) -> Iterator[Metric]:
        batches = _gauge("promptyard_batches")
        open_jobs = _gauge("promptyard_open_jobs")
        states: Counter[str] = Counter({str(state): 0 for state in BatchState})
        waiting_jobs: Counter[str] = Counter({"accepted": 0, "routed": 0, "running": 0})
        for status in self._producer.batches(BATCHES):
            states[str(status.state)] += 1
            waiting_jobs.update(
                {str(state): count for state, count in status.counts.items() if not state.is_final}
            )
        for name, count in sorted(states.items()):
            batches.add_metric([name], count)
        for name, count in sorted(waiting_jobs.items()):
            open_jobs.add_metric([name], count)
        yield batches
        yield open_jobs

    def _models(self) -> Iterator[Metric]:
        catalog = self._producer.catalog()
        models = self._producer.models()
        yield from _quota(models, catalog)
        breaker = _gauge("promptyard_breaker_state")
        now_s = self._store.do(jobs.time_s())
        for model in models:
            state = CLOSED
            if model.breaker is not None:
                state = OPEN if model.breaker.open_until.timestamp() > now_s else HALF_OPEN
            breaker.add_metric([model.name, model.breaker.reason if model.breaker else ""], state)
        yield breaker
        judge = _gauge("promptyard_judge_day_cost_usd")
        judge.add_metric([], self._store.do(judging.bill(now_s)))
        yield judge

    def _workers(self) -> Iterator[Metric]:
        workers = _gauge("promptyard_workers")
        slots = _gauge("promptyard_worker_slots")
        cards = self._producer.workers()
        for queue in QUEUES:
            mine = [card for card in cards if queue in card.queues]
            workers.add_metric([queue], len(mine))
            slots.add_metric([queue], sum(card.concurrency for card in mine))
        yield workers
        yield slots


def _quota(models: list[ModelHealth], catalog: Catalog | None) -> Iterator[Metric]:
    used = _gauge("promptyard_quota_used")
    limit = _gauge("promptyard_quota_limit")
    factor = _gauge("promptyard_quota_factor")
    for model in models:
        use, name = model.quota, model.name
        card = catalog.models.get(name) if catalog else None
        for quota, value, allowed in (
            ("rpm", use.requests, card.rpm if card and card.rpm else use.found_rpm),
            ("tpm", use.tokens, card.tpm if card and card.tpm else use.found_tpm),
            ("rpd", use.day_requests, card.rpd if card else None),
        ):
            used.add_metric([name, quota], value)
            if allowed is not None:
                limit.add_metric([name, quota], allowed)
        factor.add_metric([name, "rpm"], use.request_factor)
        factor.add_metric([name, "tpm"], use.token_factor)
    yield used
    yield limit
    yield factor


def _gauge(name: str) -> GaugeMetricFamily:
    meaning, labels = GAUGES[name]
    return GaugeMetricFamily(name, meaning, labels=labels)


def store_registry(producer: Producer, store: Store) -> CollectorRegistry:
    """A registry that asks the store at every scrape."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(producer, store))
    return registry
