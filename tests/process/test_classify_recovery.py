"""Classify workers die, stall and stop with chunks in hand: each prompt answers for itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.batch import Batch, BatchState
from promptyard.job import ErrorType, Job, JobState
from promptyard.names import CLASSIFY_CHUNK, CLASSIFY_QUEUE, Tier
from promptyard.store import jobs, keys
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import ROOT, UNACKED, RestartableServer, Yard, kill
from tests.process.lethal import LETHAL, SLOW, Stage
from tests.process.policies import write_policy
from tests.process.test_recovery import SOON_S

pytestmark = pytest.mark.process

LEASE_S = 2.0
#: A dead worker's jobs are put back when its lease has run out; looked for four times a lease.
PUT_BACK_S = 2 * LEASE_S
#: Celery takes no message any more within a second.
DRAIN_S = 2.0
#: ``retry.max_worker_lost`` of a file that does not say.
MOST_LOST = 3


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The encoder's gate and memory."""
    return Stage(tmp_path)


@pytest.fixture
def yard(
    tmp_path: Path, restartable: RestartableServer, sim: SimServer, stage: Stage
) -> Iterator[Yard]:
    """A yard whose encoder obeys the prompts; its tiers are at work, its classify workers not."""
    made = Yard(
        tmp_path,
        restartable.url,
        sim,
        PROMPTYARD_LEASE_S=str(LEASE_S),
        PROMPTYARD_HOME=str(tmp_path / "home"),
        PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    )
    write_policy(tmp_path / "router.yaml", encoder=stage.config)
    try:
        made.start(*Tier)
        yield made
        made.check_invariants()
        assert not made.raw.exists(keys.TAKEN), "a chunk is in hand still"
    finally:
        made.close(unruffled=False)  # Celery logs tracebacks when Redis dies


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[RestartableServer]:
    """A Valkey that can be killed."""
    server = RestartableServer(tmp_path / "restartable")
    yield server
    server.kill()


def prompts(count: int, **odd: str) -> list[Job]:
    """Distinct jobs of the classify queue; ``n12="..."`` puts a mark into the twelfth."""
    return [Job(contents=f"Spell {n}. {odd.get(f'n{n}', '')}") for n in range(count)]


def finish_with_restarts(yard: Yard, batch: Batch, *, concurrency: int) -> int:
    """Start a classify worker again whenever it dies, until the batch ends; gives its deaths."""
    workers = [yard.launch(CLASSIFY_QUEUE, concurrency=concurrency)]

    def done() -> bool:
        if workers[-1].poll() is not None:
            workers.append(yard.launch(CLASSIFY_QUEUE, concurrency=concurrency))
        return yard.producer.status(batch).state is BatchState.DONE

    wait_until(done, description="the batch is done", timeout_s=90)
    yard.ready(workers[-1])
    return len(workers) - 1


def put_back(yard: Yard) -> int:
    """Jobs that went back because their worker was lost."""
    return sum(map(int, re.findall(r"Put back (\d+) jobs", yard.log_text())))


def in_hand(yard: Yard) -> int:
    """Jobs that classify workers have in hand."""
    return int(yard.raw.zcard(keys.TAKEN))


def test_a_prompt_that_kills_its_worker_ends_as_poison(yard: Yard, stage: Stage) -> None:
    """Chunks go down with it once; from then on it is alone, and the others are routed."""
    work = prompts(4 * CLASSIFY_CHUNK, n20=LETHAL)
    batch = yard.producer.submit_batch(work)
    assert finish_with_restarts(yard, batch, concurrency=4) == MOST_LOST
    status = yard.producer.status(batch)
    assert status.counts[JobState.FAILED] == 1
    assert status.counts[JobState.SUCCEEDED] == len(work) - 1
    result = yard.producer.result(work[20].id, timeout=0)
    assert result.error is not None
    assert result.error.type is ErrorType.POISON
    assert f"{MOST_LOST} workers died" in result.error.message
    assert [len(texts) for texts in stage.seen(LETHAL)] == [CLASSIFY_CHUNK, 1, 1]
    assert put_back(yard) % CLASSIFY_CHUNK == 1, "whole chunks, then this one; the third is its end"
    assert all(yard.calls(job.text) == (job is not work[20]) for job in work)
    assert f"Job {work[20].id} is poison" in yard.log_text()


def test_two_poisonous_prompts_of_a_chunk_end_each_for_itself(yard: Yard, stage: Stage) -> None:
    """The neighbours of both are lost once."""
    work = prompts(CLASSIFY_CHUNK, n1=LETHAL, n60=LETHAL)
    batch = yard.producer.submit_batch(work)
    assert finish_with_restarts(yard, batch, concurrency=1) == 1 + 2 * (MOST_LOST - 1)
    assert yard.producer.status(batch).counts[JobState.SUCCEEDED] == len(work) - 2
    assert all(len(texts) == 1 for texts in stage.seen(LETHAL)[1:])
    assert put_back(yard) == CLASSIFY_CHUNK + 2


def test_suspects_are_routed_one_at_a_time(yard: Yard, stage: Stage) -> None:
    """Whichever of them it was, the next process that it ends has no other in hand."""
    stage.close_gate()
    work = [Job(id=f"job-{n}", contents=f"Spell {n}. {SLOW * (not n)}") for n in range(8)]
    batch = yard.producer.submit_batch(work)
    worker = yard.start(CLASSIFY_QUEUE)
    wait_until(lambda: stage.seen(SLOW), description="all are in hand")
    kill(worker)
    yard.start(CLASSIFY_QUEUE, concurrency=4)
    wait_until(lambda: len(stage.seen(SLOW)) == 2, description="the first is in hand again")
    wait_until(lambda: yard.raw.hlen(UNACKED) == 1 + 4, description="every thread has its message")
    until_s = yard.store.do(jobs.time_s()) + LEASE_S
    wait_until(
        lambda: in_hand(yard) > 1 or yard.store.do(jobs.time_s()) > until_s,
        description="the others wait",
    )
    assert in_hand(yard) == 1
    stage.let_pass()
    yard.finish(batch)
    assert [len(texts) for texts in stage.seen(SLOW)] == [len(work), 1]
    assert put_back(yard) == len(work)


def test_a_slow_workers_chunk_is_not_sent_again(yard: Yard, stage: Stage) -> None:
    """An encoder takes longer than the patience, beside one that would do the same at once."""
    stage.close_gate()
    yard.start(CLASSIFY_QUEUE)
    yard.start(CLASSIFY_QUEUE)
    work = prompts(CLASSIFY_CHUNK, n5=SLOW)
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: stage.seen(SLOW), description="one has the chunk in hand")
    until_s = yard.store.do(jobs.time_s()) + PUT_BACK_S
    wait_until(lambda: yard.store.do(jobs.time_s()) > until_s, description="patience is over")
    assert in_hand(yard) == len(work)
    stage.let_pass()
    yard.finish(batch)
    assert len(stage.seen(SLOW)) == 1
    assert all(yard.calls(job.text) == 1 for job in work)
    assert not put_back(yard)
    assert "Sent again" not in yard.log_text()


def test_a_dead_workers_chunk_is_noticed_behind_a_long_queue(yard: Yard, stage: Stage) -> None:
    """It left the queue before all that waits there, and after most of it came."""
    stage.close_gate()
    work = prompts(6 * CLASSIFY_CHUNK, n5=SLOW)
    batch = yard.producer.submit_batch(work)
    worker = yard.start(CLASSIFY_QUEUE, concurrency=1)
    wait_until(lambda: in_hand(yard) == CLASSIFY_CHUNK, description="it has a chunk in hand")
    wait_until(lambda: stage.seen(SLOW), description="and is held up")
    kill(worker)
    stage.take_gate_away()
    wait_until(lambda: not in_hand(yard), description="it is missed", timeout_s=SOON_S)
    yard.start(CLASSIFY_QUEUE)
    yard.finish(batch)
    assert [len(texts) for texts in stage.seen(SLOW)] == [CLASSIFY_CHUNK, 1]
    assert all(yard.calls(job.text) == 1 for job in work)
    assert "Sent again" not in yard.log_text(), "the queue was whole"


def test_a_worker_that_stops_hands_its_chunk_over(yard: Yard, stage: Stage) -> None:
    """Routing outlasts ``--drain``: another worker has the chunk at once, and nobody is blamed."""
    stage.close_gate()
    work = prompts(CLASSIFY_CHUNK, n5=SLOW)
    batch = yard.producer.submit_batch(work)
    worker = yard.start(CLASSIFY_QUEUE, drain_s=DRAIN_S)
    wait_until(lambda: stage.seen(SLOW), description="it has the chunk in hand")
    stage.take_gate_away()
    worker.terminate()
    wait_until(lambda: not in_hand(yard), description="it gives up", timeout_s=2 * DRAIN_S)
    yard.start(CLASSIFY_QUEUE)
    yard.finish(batch)
    assert [len(texts) for texts in stage.seen(SLOW)] == [CLASSIFY_CHUNK] * 2
    assert not put_back(yard)
    stage.let_pass()
    wait_until(lambda: worker.poll() == 0, description="it ends well")
    assert all(yard.calls(job.text) == 1 for job in work)


def test_an_outage_of_redis_blames_nobody(
    yard: Yard, stage: Stage, restartable: RestartableServer
) -> None:
    """The chunk is decided while Redis is away: it is given back, and routed as a chunk again."""
    stage.close_gate()
    work = prompts(CLASSIFY_CHUNK, n5=SLOW)
    batch = yard.producer.submit_batch(work)
    yard.start(CLASSIFY_QUEUE)
    wait_until(lambda: stage.seen(SLOW), description="it has the chunk in hand")
    yard.raw.waitaof(1, 0, 5000)  # that is on disk
    restartable.kill()
    stage.take_gate_away()
    stage.let_pass()
    wait_until(lambda: "waits for Redis" in yard.log_text(), description="it cannot dispatch")
    restartable.start()
    yard.finish(batch)
    assert [len(texts) for texts in stage.seen(SLOW)] == [CLASSIFY_CHUNK] * 2
    assert all(yard.calls(job.text) == 1 for job in work)
    assert not put_back(yard)
