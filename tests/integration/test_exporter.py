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
from promptyard.store import Store, breakers, fleet, judging, keys
from promptyard_worker.observe.exporter import CLOSED, GAUGES, OPEN, store_registry
from promptyard_worker.routing.file import find_router_file, load_router
from tests.monitoring import needs_promtool, promtool

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


@needs_promtool
def test_promtool_finds_no_fault_in_it(producer: Producer, store: Store) -> None:
    """Every gauge of a yard whose router file is known."""
    catalog = load_router(find_router_file(None)).catalog()
    store.do(fleet.put_catalog(catalog, retention_s=60))
    text = generate_latest(store_registry(producer, store))
    assert {name for name in GAUGES if f"# TYPE {name} gauge".encode() not in text} == set()
    assert promtool("check", "metrics", text=text) == ""


def test_the_judges_bill_of_the_day_is_told(producer: Producer, store: Store) -> None:
    """It is on no job's bill."""
    assert scrape(producer, store)["promptyard_judge_day_cost_usd", ""] == 0
    store.do(judging.pay(0.25))
    assert scrape(producer, store)["promptyard_judge_day_cost_usd", ""] == 0.25
