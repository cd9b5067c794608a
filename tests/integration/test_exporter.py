"""What the exporter tells of the store, asked of a real one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import redis
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from promptyard.embedded import EmbeddedServer
from promptyard.job import Job
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, breakers, fleet, keys
from promptyard_worker.observe.exporter import CLOSED, OPEN, store_registry
from promptyard_worker.routing.file import find_router_file, load_router

FLASH, LITE = "gemini-2.5-flash", "gemini-2.5-flash-lite"


def scrape(producer: Producer, store: Store) -> dict[tuple[str, str], float]:
    """Value by (metric, its first label's value)."""
    text = generate_latest(store_registry(producer, store)).decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_queues_batches_and_breakers_are_told(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """Depth and age of queues, batches and jobs by state, breakers, workers."""
    config = load_router(find_router_file(None))
    store.do(fleet.put_catalog(config.catalog(), retention_s=Settings().retention_s))
    producer.submit_batch([Job(contents=f"a {n}", tier=Tier.LITE) for n in range(3)])
    producer.submit_batch([Job(contents=f"b {n}") for n in range(70)])
    raw.zadd(keys.waiting("lite", 5), {"an old one": store.redis.time()[0] - 100})
    store.do(breakers.trip([FLASH], reason="failures", for_s=60))
    found = scrape(producer, store)
    assert found["promptyard_up", ""] == 1
    assert found["promptyard_queue_depth", "lite"] == 3
    assert found["promptyard_queue_depth", "classify"] == 2, "chunks of 64"
    assert found["promptyard_queue_oldest_seconds", "lite"] >= 99
    assert found["promptyard_queue_oldest_seconds", "pro"] == 0
    assert found["promptyard_batches", "running"] == 2
    assert found["promptyard_open_jobs", "accepted"] == 70
    assert found["promptyard_open_jobs", "routed"] == 3
    assert found["promptyard_breaker_state", FLASH] == OPEN
    assert found["promptyard_breaker_state", LITE] == CLOSED
    assert found["promptyard_workers", "lite"] == 0


def test_a_store_that_is_away_is_down_not_an_error(tmp_path: Path) -> None:
    """The scrape answers, and says so."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        url = server.url
    with Producer(url) as producer, closing(Store(url)) as store:
        found = scrape(producer, store)
    assert found == {("promptyard_up", ""): 0}
