"""A worker that no longer hears its queue ends, to be started again; one that hears does not."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.child import Child, spawn
from promptyard.embedded import EmbeddedServer
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.celery_app import create_app
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import Yard, checked
from tests.process.test_recovery import in_flight, lite_jobs

pytestmark = pytest.mark.process

PATIENCE_S = 3.0
#: A process whose main thread takes no signal any more.
STUCK = """
import asyncio, signal, sys
from promptyard.store import AsyncStore
from promptyard_worker.watchdog import Watchdog
signal.signal(signal.SIGTERM, signal.SIG_IGN)
async def watch():
    store = AsyncStore(sys.argv[1])
    await Watchdog(store, queues=["lite"], patience_s=0.2).watch()
asyncio.run(watch())
"""


@pytest.fixture
def yard(tmp_path: Path, sim: SimServer) -> Iterator[Yard]:
    """Workers with little patience, not started yet."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        made = Yard(tmp_path, server.url, sim, PROMPTYARD_WATCHDOG_S=str(PATIENCE_S))
        with checked(made):
            yield made


def deafen(yard: Yard, *workers: Child) -> None:
    """Have workers stop consuming while they live on, as after a reconnect that went wrong."""
    app = create_app(yard.url)
    names = [card.name for card in yard.producer.workers() if card.pid in {w.pid for w in workers}]
    told = app.control.cancel_consumer("lite", destination=names, reply=True, timeout=10)
    app.close()
    assert len(told or ()) == len(workers)


def test_a_deaf_worker_ends_and_another_goes_on(yard: Yard) -> None:
    """It says why; the job that it left is whole."""
    deaf = yard.start("lite")
    yard.run_one(Job(contents="It hears.", tier=Tier.LITE))
    deafen(yard, deaf)
    batch = yard.producer.submit_batch(lite_jobs(3, ""))
    assert deaf.wait(8 * PATIENCE_S), "the watchdog did not bite"
    assert deaf.poll() == 0
    assert "does not take it: it ends" in yard.log_text()
    assert yard.sim.stats()["calls"] == 1
    yard.start("lite")
    yard.finish(batch)


def test_a_deaf_worker_finishes_its_calls_first(yard: Yard) -> None:
    """A call in flight is never broken off by the watchdog, however long it takes."""
    deaf = yard.start("lite")
    first = yard.producer.submit_batch(lite_jobs(1, "[[sim: latency=5s]]"))
    wait_until(lambda: in_flight(yard) == 1, description="it is at work")
    deafen(yard, deaf)
    second = yard.producer.submit_batch(lite_jobs(1, ""))
    assert deaf.wait(8 * PATIENCE_S)
    assert yard.producer.status(first).finished == 1
    assert yard.producer.status(second).finished == 0
    yard.start("lite")
    yard.finish(second)
    assert yard.sim.stats()["calls"] == 2


def test_a_worker_that_hears_is_let_alone(yard: Yard) -> None:
    """Neither an empty queue, nor a long one, nor one that others eat, is a reason."""
    busy = yard.start("lite", concurrency=1)
    yard.finish(yard.producer.submit_batch(lite_jobs(10, "[[sim: latency=400ms]]")))
    deaf = yard.start("lite")
    deafen(yard, deaf)
    batch = yard.producer.submit_batch(lite_jobs(15, "[[sim: latency=300ms]]"))
    yard.finish(batch)
    assert (busy.poll(), deaf.poll()) == (None, None)
    assert "it ends" not in yard.log_text()


def test_a_stuck_main_thread_is_no_way_out(yard: Yard, tmp_path: Path) -> None:
    """SIGTERM is not heard: after as long again the process is killed."""
    yard.producer.submit(Job(contents="x", tier=Tier.LITE))
    stuck = spawn("stuck", [sys.executable, "-c", STUCK, yard.url], log=tmp_path / "stuck.log")
    assert stuck.wait(20.0), stuck.tail()
    assert stuck.poll() == -signal.SIGKILL
