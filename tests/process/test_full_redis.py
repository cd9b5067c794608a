"""A Redis that is full while workers are at work: what is in is finished, nothing new comes in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptyard.batch import Batch
from promptyard.errors import StoreFull
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard_worker.celery_app import create_app
from tests.conftest import wait_until
from tests.memory import full
from tests.process.conftest import CONCURRENCY, Yard
from tests.process.test_recovery import RECOVERY_S, in_flight, lite_jobs

pytestmark = pytest.mark.process


@pytest.fixture
def full_yard(own_yard: Yard) -> Iterator[Yard]:
    """A yard with leases of 2 s; room again before its invariants are looked at."""
    yield own_yard
    own_yard.raw.config_set("maxmemory", 0)


def mixed_work() -> list[Job]:
    """To be routed, named, tried again twice, and longer in flight than a lease."""
    work = [Job(contents=f"Write song {n}.") for n in range(40)]
    work += [Job(contents=f"Try {n}. [[sim: 503 x2]]", tier=Tier.LITE) for n in range(10)]
    work += [Job(contents=f"Think {n}. [[sim: latency=3s]]", tier=Tier.FLASH) for n in range(4)]
    return work


def check_all_answered(yard: Yard, batch: Batch, calls: int) -> None:
    """Every job has its answer on record, and no call was made twice."""
    status = yard.finish(batch, timeout_s=RECOVERY_S)
    assert status.counts[JobState.SUCCEEDED] == status.total
    assert all(result.text for result in yard.producer.results(batch))
    assert yard.sim.stats()["calls"] == calls


def test_what_is_in_is_finished_over_the_limit(full_yard: Yard) -> None:
    """Messages are taken, routed, retried, leases kept, answers recorded; the log is silent."""
    full_yard.start()
    work = mixed_work()
    batch = full_yard.producer.submit_batch(work)
    with full(full_yard.raw):
        with pytest.raises(StoreFull):
            full_yard.producer.submit("One more.")
        check_all_answered(full_yard, batch, calls=len(work) + 2 * 10)
        wait_until(full_yard.is_idle, description="no message is left")
        log = full_yard.log_text()
    assert "maxmemory" not in log
    assert "is full" not in log


def test_a_worker_starts_and_stops_on_a_full_redis(full_yard: Yard) -> None:
    """It declares its queues, shows itself, answers a ping, and gives back what it holds."""
    batch = full_yard.producer.submit_batch(lite_jobs(40, "[[sim: latency=500ms]]"))
    with full(full_yard.raw):
        first = full_yard.start("lite")
        wait_until(lambda: in_flight(full_yard) == CONCURRENCY, description="it is busy")
        app = create_app(full_yard.url)
        assert len(app.control.ping(timeout=10, limit=1) or ()) == 1
        app.close()
        full_yard.end(first)
        full_yard.start("lite")
        check_all_answered(full_yard, batch, calls=40)
    assert "maxmemory" not in full_yard.log_text()
