"""Hundreds of calls wait in one process at the price of coroutines (ADR 1: the pool)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promptyard.job import Job
from promptyard.names import Tier
from tests.conftest import wait_until
from tests.process.conftest import Yard

pytestmark = pytest.mark.process

IN_FLIGHT = 300
LIMIT_MB = 300


def pss_mb(pid: int) -> float:
    """Proportional set size: what the process costs the machine."""
    path = Path(f"/proc/{pid}/smaps_rollup")
    if not path.exists():
        pytest.skip("needs /proc/PID/smaps_rollup")
    found = re.search(r"^Pss:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def test_one_process_holds_hundreds_of_calls(own_yard: Yard) -> None:
    """300 calls in flight at once, every answer recorded, under 300 MB."""
    yard = own_yard
    worker = yard.start("lite", concurrency=IN_FLIGHT)
    work = [Job(contents=f"n {n} [[sim: latency=4s]]", tier=Tier.LITE) for n in range(IN_FLIGHT)]
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: yard.sim.stats()["in_flight"] == IN_FLIGHT, description="all are in flight")
    assert pss_mb(worker.pid) < LIMIT_MB
    yard.finish(batch)
    assert all(result.ok for result in yard.producer.results(batch))
    stats = yard.sim.stats()
    assert (stats["max_in_flight"], stats["calls"]) == (IN_FLIGHT, IN_FLIGHT)
    assert pss_mb(worker.pid) < LIMIT_MB
