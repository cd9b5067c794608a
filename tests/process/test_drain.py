"""SIGTERM: calls in flight may finish, all else goes back at once, exit code 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptyard.embedded import EmbeddedServer
from promptyard.job import ErrorType, Job, JobState
from promptyard.names import Tier
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, Yard, new_sim

pytestmark = pytest.mark.process

LITE = "gemini-2.5-flash-lite"


def test_a_call_longer_than_the_drain_goes_back(own_yard: Yard) -> None:
    """It is broken off after --drain, and another worker takes the job at once."""
    yard = own_yard
    worker = yard.start("lite", drain_s=0.5)
    work = [Job(contents=f"Slow {n}. [[sim: hang x1]]", tier=Tier.LITE) for n in range(CONCURRENCY)]
    batch = yard.producer.submit_batch(work)
    wait_until(
        lambda: yard.sim.stats()["in_flight"] == CONCURRENCY, description="all are in flight"
    )
    yard.end(worker)
    status = yard.producer.status(batch)
    assert status.counts[JobState.ROUTED] == len(work)
    yard.start("lite")
    yard.finish(batch)
    for result in yard.producer.results(batch):
        assert result.ok
        kinds = [attempt.error.type if attempt.error else None for attempt in result.attempts]
        assert kinds == [ErrorType.WORKER_LOST, None]


def test_what_waits_for_quota_goes_back_at_once(tmp_path: Path) -> None:
    """One slot is taken by a long call; the others have called nothing and wait no more."""
    with new_sim() as sim, EmbeddedServer(tmp_path, persist=False) as server:
        yard = Yard(tmp_path, server.url, sim, PROMPTYARD_LEASE_S="2")
        yard.limit(LITE, max_concurrency=1)
        worker = yard.start("lite")
        work = [Job(contents=f"One {n}. [[sim: latency=1s]]", tier=Tier.LITE) for n in range(6)]
        batch = yard.producer.submit_batch(work)
        wait_until(lambda: sim.stats()["in_flight"] == 1, description="one is in flight")
        yard.end(worker)
        status = yard.producer.status(batch)
        assert status.counts[JobState.SUCCEEDED] <= 2, "the one, and one that was just let through"
        assert status.counts[JobState.RUNNING] == 0
        yard.start("lite")
        yard.finish(batch)
        assert sim.stats()["max_in_flight"] == 1
        assert all(yard.calls(job.text) == 1 for job in work)
        yard.check_invariants()
        yard.close()
