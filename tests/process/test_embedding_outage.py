"""The encoder's service goes away and comes back: jobs wait for it, and none of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.embedded import EmbeddedServer
from promptyard.job import Job, JobState
from promptyard.names import CLASSIFY_QUEUE, Tier
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, Yard, checked, new_sim
from tests.process.policies import write_policy

pytestmark = pytest.mark.process


@pytest.fixture
def sim() -> Iterator[SimServer]:
    """A stand-in of the test's own, which it may stop."""
    with new_sim() as made:
        yield made


@pytest.fixture
def yard(tmp_path: Path, sim: SimServer) -> Iterator[Yard]:
    """A yard whose encoder is the stand-in's embedding model."""
    home = {"PROMPTYARD_LEASE_S": "2", "PROMPTYARD_HOME": str(tmp_path / "home")}
    with EmbeddedServer(tmp_path, persist=False) as server:
        made = Yard(tmp_path, server.url, sim, **home)
        write_policy(tmp_path / "router.yaml", encoder={"type": "gemini"})
        with checked(made):
            yield made


def test_chunks_wait_for_the_encoder(yard: Yard, sim: SimServer) -> None:
    """Each is tried, put back and tried again; a worker can start meanwhile, and does the same."""
    classify = yard.launch(CLASSIFY_QUEUE, concurrency=CONCURRENCY)
    yard.ready(classify, yard.launch(*Tier))
    sim.__exit__(None, None, None)
    jobs = [Job(contents=f"Translate the word {n} into Polish.") for n in range(150)]
    batch = yard.producer.submit_batch(jobs)

    def waits() -> int:
        return classify.log.read_text().count("waits for")

    wait_until(lambda: waits() > 4, description="three chunks wait, some again", timeout_s=60)
    yard.start(CLASSIFY_QUEUE)  # it knows the utterances' embeddings from the first one's start
    assert yard.producer.status(batch).finished == 0
    log = classify.log.read_text()
    assert "gemini-embedding-001 could not embed" in log
    assert "the connection failed (ConnectError)" in log
    sim.__enter__()
    status = yard.finish(batch, timeout_s=60)
    assert status.counts[JobState.SUCCEEDED] == len(jobs)
    decisions = [result.decision for result in yard.producer.results(batch)]
    assert {decision.stage for decision in decisions if decision} == {"semantic"}
    assert all(yard.calls(job.text) == 1 for job in jobs)
    wait_until(yard.is_idle, description="every message is used up", timeout_s=60)
