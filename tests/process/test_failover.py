"""A failover: the primary becomes a replica, and the address leads to the new primary.

The old connections stay open, which is the trap: the old primary answers all who stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from promptyard.async_producer import AsyncProducer
from promptyard.embedded import EmbeddedServer
from promptyard.errors import StoreError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard_worker.sim.server import SimServer
from tests.cable import Cable
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, Yard, checked
from tests.process.test_recovery import RECOVERY_S, in_flight, lite_jobs

pytestmark = pytest.mark.process


class Pair:
    """A primary, its replica, and the address that leads to the primary.

    Args:
        primary: in charge at first.
        replica: takes over.
        cable: the address.
    """

    def __init__(self, primary: EmbeddedServer, replica: EmbeddedServer, cable: Cable) -> None:
        self._ports = port_of(primary), port_of(replica)
        self._cable = cable
        self.url = f"redis://127.0.0.1:{cable.port}/0"
        self._primary = redis.Redis.from_url(primary.url)
        self._replica = redis.Redis.from_url(replica.url)
        self._primary.config_set("repl-diskless-sync-delay", 0)
        self._replica.replicaof("127.0.0.1", str(self._ports[0]))
        wait_until(self._in_step, description="the replica is in step")

    def fail_over(self) -> None:
        """Change the parts, in order: no write is lost."""
        self._primary.execute_command("FAILOVER TO 127.0.0.1", self._ports[1])  # type: ignore[no-untyped-call]
        wait_until(self._changed, description="the replica is in charge")
        self._cable.lead_to(self._ports[1])

    def close(self) -> None:
        """Close the connections."""
        self._primary.close()
        self._replica.close()

    def _in_step(self) -> bool:
        return bool(self._replica.info("replication")["master_link_status"] == "up")

    def _changed(self) -> bool:
        roles = [one.info("replication")["role"] for one in (self._primary, self._replica)]
        return roles == ["slave", "master"]


def port_of(server: EmbeddedServer) -> int:
    """Where it listens."""
    return urlsplit(server.url).port or 0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers, one in charge."""
    with (
        EmbeddedServer(tmp_path / "a", persist=False) as primary,
        EmbeddedServer(tmp_path / "b", persist=False) as replica,
        Cable(port_of(primary)) as cable,
    ):
        made = Pair(primary, replica, cable)
        yield made
        made.close()


@pytest.fixture
def yard(pair: Pair, sim: SimServer, tmp_path: Path) -> Iterator[Yard]:
    """A yard at the address, without workers yet; Celery logs tracebacks of a failover."""
    made = Yard(tmp_path, pair.url, sim, PROMPTYARD_LEASE_S="2")
    with checked(made, unruffled=False):
        yield made


def test_workers_go_over_to_the_new_primary(yard: Yard, pair: Pair) -> None:
    """One with calls in flight, one that waits for a message: neither ends, nothing is lost."""
    busy, idle = yard.start("lite"), yard.start("flash")
    batch = yard.producer.submit_batch(lite_jobs(40, "[[sim: latency=500ms]]"))
    wait_until(lambda: in_flight(yard) == CONCURRENCY, description="it is busy")
    pair.fail_over()
    yard.finish(batch, timeout_s=RECOVERY_S)
    assert all(result.ok for result in yard.producer.results(batch))
    assert yard.sim.stats()["calls"] <= 40 + CONCURRENCY
    job = Job(contents="Is it there?", tier=Tier.FLASH)
    wait_until(lambda: submitted(yard.producer, job), description="the producer is over there")
    assert yard.producer.result(job.id, timeout=RECOVERY_S).ok
    assert (busy.poll(), idle.poll()) == (None, None)


def submitted(producer: Producer, job: Job) -> bool:
    """Submit, if Redis lets us."""
    try:
        return producer.submit(job) == job.id
    except StoreError:
        return False


def test_a_producer_goes_over_after_one_error(pair: Pair) -> None:
    """The error says what is going on; the next try is at the new primary, in both faces."""

    async def scenario() -> str:
        async with AsyncProducer(pair.url) as face:
            await face.submit("before")
            await asyncio.to_thread(pair.fail_over)
            with pytest.raises(StoreError, match="wait for the failover to end"):
                await face.submit("at the old one")
            return await face.submit("after")

    with Producer(pair.url) as face:
        face.submit("before")
        job_id = asyncio.run(scenario())
        with pytest.raises(StoreError, match="wait for the failover to end"):
            face.submit("at the old one")
        assert face.submit("after") != job_id
