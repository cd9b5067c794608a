"""Redis is killed and comes back: nothing is lost, and what was paid is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.job import Job
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, RestartableServer, Yard, checked
from tests.process.test_recovery import RECOVERY_S, in_flight, lite_jobs

pytestmark = pytest.mark.process


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[RestartableServer]:
    """A Valkey that can be killed; workers are stopped before it."""
    server = RestartableServer(tmp_path / "restartable")
    yield server
    server.kill()


@pytest.fixture
def yard(restartable: RestartableServer, sim: SimServer, tmp_path: Path) -> Iterator[Yard]:
    """A yard on it, without workers yet; Celery logs tracebacks when Redis dies."""
    made = Yard(tmp_path, restartable.url, sim, PROMPTYARD_LEASE_S="2")
    with checked(made, unruffled=False):
        yield made


def test_a_killed_redis_loses_nothing(yard: Yard, restartable: RestartableServer) -> None:
    """SIGKILL of Redis with calls in flight, restart on its AOF: every job ends once."""
    yard.start()
    work = lite_jobs(30, "[[sim: latency=500ms]]")
    work += [Job(contents=f"Write song {n}. [[sim: latency=500ms]]") for n in range(30)]
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: in_flight(yard) == CONCURRENCY, description="it is busy")
    wait_until(lambda: yard.sim.stats()["succeeded"] > CONCURRENCY, description="the line runs")
    restartable.kill()
    restartable.start()
    assert len(yard.job_ids(batch)) == len(work)
    yard.finish(batch, timeout_s=RECOVERY_S)
    assert all(result.ok for result in yard.producer.results(batch))
    assert yard.sim.stats()["calls"] <= len(work) + CONCURRENCY


def test_a_redis_that_stays_away_for_seconds_loses_nothing(
    yard: Yard, restartable: RestartableServer
) -> None:
    """Down until the worker has given up waiting for it; every job ends once all the same."""
    yard.start()
    work = lite_jobs(30, "[[sim: latency=500ms]]")
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: in_flight(yard) == CONCURRENCY, description="it is busy")
    restartable.kill()
    wait_until(lambda: "waits for Redis" in yard.log_text(), description="it has given up")
    restartable.start()
    yard.finish(batch, timeout_s=RECOVERY_S)
    assert all(result.ok for result in yard.producer.results(batch))
    assert yard.sim.stats()["calls"] <= len(work) + CONCURRENCY


def test_answers_that_land_while_redis_is_away_are_not_paid_again(
    yard: Yard, restartable: RestartableServer
) -> None:
    """The worker keeps the answers, and its jobs, until Redis is there again."""
    yard.start("lite")
    yard.start("lite")  # it could take the jobs, whose leases run out meanwhile
    work = lite_jobs(CONCURRENCY, "[[sim: latency=2s]]")
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: in_flight(yard) == len(work), description="all are in flight")
    yard.raw.execute_command("WAITAOF", 1, 0, 5000)  # the claims are on disk
    restartable.kill()
    wait_until(
        lambda: yard.sim.stats()["succeeded"] == len(work), description="the answers have come"
    )
    restartable.start()
    yard.finish(batch, timeout_s=RECOVERY_S)
    assert all(result.ok for result in yard.producer.results(batch))
    assert yard.sim.stats()["calls"] == len(work)
