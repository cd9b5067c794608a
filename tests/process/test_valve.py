"""A worker of several tiers: the tight quota of one does not hold the others up."""

from __future__ import annotations

import pytest

from promptyard.batch import Batch
from promptyard.job import Job, JobState
from promptyard.names import QUEUES, Tier
from tests.conftest import wait_until
from tests.process.conftest import Yard, kill

pytestmark = pytest.mark.process

PRO = "gemini-2.5-pro"
SLOTS = 8


def submitted(yard: Yard, tier: Tier, count: int, latency_s: float) -> Batch:
    """A batch of one tier."""
    wait = f"[[sim: latency={latency_s:g}s]]"
    return yard.producer.submit_batch(
        [Job(contents=f"Is {n} even? {wait}", tier=tier) for n in range(count)]
    )


def finished(yard: Yard, batch: Batch) -> int:
    """Jobs that have ended."""
    return yard.producer.status(batch).finished


def test_one_tiers_quota_does_not_hold_up_another(own_yard: Yard) -> None:
    """One call of pro at a time; flash goes on beside it, and pro loses no time."""
    yard = own_yard
    yard.limit(PRO, max_concurrency=1)
    worker = yard.start(*QUEUES, concurrency=SLOTS)
    slow = submitted(yard, Tier.PRO, 30, latency_s=1)
    quick = submitted(yard, Tier.FLASH, 100, latency_s=0.2)
    status = yard.finish(quick, timeout_s=25)
    assert status.counts[JobState.SUCCEEDED] == 100
    assert finished(yard, slow) < 25, "flash ended with pro, not beside it"
    assert yard.finish(slow, timeout_s=60).counts[JobState.SUCCEEDED] == 30
    assert yard.sim.stats()["calls"] == 130, "what was given back had not been called"
    assert "No consumers" not in worker.log.read_text()


def test_a_queue_that_was_shut_is_opened_again(own_yard: Yard) -> None:
    """After a pause of all work, and by a worker that is new; nothing is lost with a killed one."""
    yard = own_yard
    yard.limit(PRO, max_concurrency=1)
    worker = yard.start(*QUEUES, concurrency=SLOTS, log_level="INFO")
    batch = submitted(yard, Tier.PRO, 16, latency_s=0.5)
    wait_until(lambda: "Jobs of pro wait for quota" in worker.log.read_text(), description="shut")
    yard.finish(batch)
    assert yard.finish(submitted(yard, Tier.PRO, 3, latency_s=0)).finished == 3
    batch = submitted(yard, Tier.PRO, 16, latency_s=0.5)
    before = worker.log.read_text().count("wait for quota")
    wait_until(
        lambda: worker.log.read_text().count("wait for quota") > before, description="shut again"
    )
    kill(worker)
    yard.start(*QUEUES, concurrency=SLOTS)
    yard.finish(batch, timeout_s=60)
