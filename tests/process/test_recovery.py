"""Kills, losses and doubles: every job ends once, and only what was in flight is called again."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime

import pytest
import redis

from promptyard.job import ErrorType, Job, JobResult, JobState
from promptyard.names import CLASSIFY_QUEUE, QUEUES, Tier
from promptyard.producer import Producer
from promptyard.store import keys, messages
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, UNACKED, Yard, kill, write_router

pytestmark = pytest.mark.process

#: DESIGN §3, invariant 4.
RECOVERY_S = 30.0
#: With leases of 2 s everything is well again much sooner.
SOON_S = 15.0
#: The longest wait before a retry where retries are slow.
SLOW_RETRY_S = 8.0


@pytest.fixture
def slow_retries(own_yard: Yard) -> Yard:
    """Its workers wait for seconds before they try again."""
    retry = {"base_delay_s": SLOW_RETRY_S, "max_delay_s": SLOW_RETRY_S}
    write_router(own_yard.folder / "router.yaml", retry=retry)
    return own_yard


def lite_jobs(count: int, directive: str = "") -> list[Job]:
    """Distinct jobs that need no classify worker."""
    return [Job(contents=f"Is {n} even? {directive}", tier=Tier.LITE) for n in range(count)]


def in_flight(yard: Yard) -> int:
    """Calls the stand-in is answering now."""
    found: int = yard.sim.stats()["in_flight"]
    return found


def losses(result: JobResult) -> int:
    """How often a worker was lost with this job in its hands."""
    return sum(
        attempt.error is not None and attempt.error.type is ErrorType.WORKER_LOST
        for attempt in result.attempts
    )


def empty_queues(yard: Yard) -> None:
    """Lose every message that waits."""
    yard.raw.delete(*(keys.queue(name, level) for name in QUEUES for level in range(10)))


def test_a_killed_workers_calls_are_taken_over(own_yard: Yard) -> None:
    """SIGKILL with calls in flight: only those are made again, soon, and the loss is on record."""
    yard = own_yard
    first, second = yard.launch("lite"), yard.launch("lite")
    yard.ready(first, second)
    work = lite_jobs(40, "[[sim: latency=1s]]")
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: in_flight(yard) == 2 * CONCURRENCY, description="both workers are busy")
    kill(first)
    killed = datetime.now(UTC)
    yard.finish(batch, timeout_s=RECOVERY_S)
    results = {result.id: result for result in yard.producer.results(batch)}
    assert all(result.ok for result in results.values())
    lost = [job for job in work if losses(results[job.id])]
    assert 0 < len(lost) <= CONCURRENCY
    assert all(yard.calls(job.text) == len(results[job.id].attempts) == 2 for job in lost)
    kept = [job for job in work if job not in lost]
    assert all(yard.calls(job.text) == len(results[job.id].attempts) == 1 for job in kept)
    for job in lost:
        again = results[job.id].attempts[-1]
        assert (again.started - killed).total_seconds() < RECOVERY_S
    assert yard.producer.status(batch).retries == len(lost)


def test_lost_messages_are_sent_again(own_yard: Yard) -> None:
    """Every queue emptied behind our back: redeliver completes the batch, each job called once."""
    yard = own_yard
    work = [Job(contents=f"Translate {n} to French.") for n in range(70)] + lite_jobs(10)
    batch = yard.producer.submit_batch(work)
    empty_queues(yard)
    yard.start()
    assert yard.is_idle()
    assert yard.producer.status(batch).finished == 0
    assert yard.producer.redeliver(batch) == len(work)
    yard.finish(batch)
    assert all(yard.calls(job.text) == 1 for job in work)
    assert yard.producer.redeliver(batch) == 0


def test_a_lost_message_is_noticed(own_yard: Yard) -> None:
    """As above, but nobody asks for it: the workers find the jobs by themselves."""
    yard = own_yard
    work = [Job(contents="Translate one to French."), *lite_jobs(2)]
    batch = yard.producer.submit_batch(work)
    empty_queues(yard)
    yard.start()
    yard.finish(batch, timeout_s=SOON_S)


def test_doubled_messages_make_no_second_call(own_yard: Yard) -> None:
    """Before, during and after the call, for the worker that has the job and for another."""
    yard = own_yard
    work = lite_jobs(4, "[[sim: latency=1s]]")

    def double() -> None:
        for job in work:
            message = messages.generate_message(job.id, tier="lite", priority=job.priority)
            yard.raw.lpush(keys.queue("lite", job.priority), *[message] * 3)

    batch = yard.producer.submit_batch(work)
    double()
    yard.ready(yard.launch("lite"), yard.launch("lite"))
    wait_until(lambda: in_flight(yard) == len(work), description="all are in flight")
    double()
    yard.finish(batch)
    double()
    wait_until(yard.is_idle, description="every double is used up")
    assert all(yard.calls(job.text) == 1 for job in work)
    assert yard.sim.stats()["calls"] == len(work)
    assert yard.producer.status(batch).counts[JobState.SUCCEEDED] == len(work)


def test_a_living_workers_lease_does_not_run_out(own_yard: Yard) -> None:
    """A call longer than a lease is not made again while its worker lives."""
    yard = own_yard
    yard.ready(yard.launch("lite"), yard.launch("lite"))
    work = lite_jobs(3, "[[sim: latency=4500ms]]")
    batch = yard.producer.submit_batch(work)
    status = yard.finish(batch)
    assert status.retries == 0
    assert all(yard.calls(job.text) == 1 for job in work)


def test_a_chunk_delivered_twice_is_routed_once(own_yard: Yard) -> None:
    """Doubled classify messages dispatch nothing twice."""
    yard = own_yard
    work = [Job(contents=f"Spell {n} backwards.") for n in range(64)]
    batch = yard.producer.submit_batch(work)
    ids = [job.id for job in work]
    doubles = [messages.classify_message(ids, priority=5) for _ in range(4)]
    yard.raw.lpush(keys.queue(CLASSIFY_QUEUE, 5), *doubles)
    yard.start()
    yard.finish(batch)
    wait_until(yard.is_idle, description="every double is used up")
    assert all(yard.calls(job.text) == 1 for job in work)


NOT_JSON, NOT_ZSTD = b"{not json", b"\x28\xb5\x2f\xfdjunk"


@pytest.mark.parametrize("body", [NOT_JSON, NOT_ZSTD], ids=["json", "zstd"])
def test_a_damaged_record_hurts_itself_alone(own_yard: Yard, body: bytes) -> None:
    """A record that cannot be read fails with its reason, before and after routing."""
    yard = own_yard
    work = [Job(contents=f"Name {n} rivers.") for n in range(5)] + lite_jobs(5)
    batch = yard.producer.submit_batch(work)
    whole = {job.id: yard.raw.hget(keys.job(job.id), "request") for job in (work[0], work[5])}
    for job_id in whole:
        yard.raw.hset(keys.job(job_id), "request", body)
    yard.start()
    status = yard.finish(batch, timeout_s=SOON_S)
    assert status.counts[JobState.FAILED] == 2
    assert status.counts[JobState.SUCCEEDED] == len(work) - 2
    for job_id, request in whole.items():  # mended, so that the results can be read
        yard.raw.hset(keys.job(job_id), "request", request or b"")
        error = yard.producer.result(job_id, timeout=0).error
        assert error is not None
        assert error.type is ErrorType.INVALID_REQUEST


@pytest.mark.parametrize("body", [NOT_JSON, NOT_ZSTD], ids=["json", "zstd"])
def test_a_damaged_record_does_not_hide_the_others(
    producer: Producer, raw: redis.Redis, body: bytes
) -> None:
    """A batch with a record that cannot be read is followed to its end."""
    batch = producer.submit_batch(["one", "two", "three"])
    (damaged,) = raw.lrange(keys.batch_jobs(batch.id), 0, 0)
    raw.hset(keys.job(damaged.decode()), "request", body)
    assert producer.cancel(batch) == 3
    assert len(list(producer.follow(batch))) == 3


def test_sigterm_lets_calls_finish(own_yard: Yard) -> None:
    """Calls in flight are recorded, the worker exits with 0, the rest waits for the next one."""
    yard = own_yard
    worker = yard.start("lite")
    work = lite_jobs(20, "[[sim: latency=1s]]")
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: in_flight(yard) == CONCURRENCY, description="the worker is busy")
    yard.end(worker)
    status = yard.producer.status(batch)
    assert CONCURRENCY <= status.counts[JobState.SUCCEEDED] < len(work)
    assert status.counts[JobState.RUNNING] == 0
    assert yard.producer.workers() == [], "its card goes with it"
    yard.start("lite")
    yard.finish(batch)
    assert all(yard.calls(job.text) == 1 for job in work)


def test_sigterm_hands_over_jobs_that_wait_for_a_retry(slow_retries: Yard) -> None:
    """A retry that waits in a worker's memory goes back to the queue when the worker ends."""
    yard = slow_retries
    worker = yard.start("lite")
    work = lite_jobs(4, "[[sim: 503 x1]]")
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: yard.producer.status(batch).retries == 4, description="all wait for a retry")
    yard.end(worker)
    yard.start("lite")
    yard.finish(batch, timeout_s=SLOW_RETRY_S + SOON_S)
    assert all(yard.calls(job.text) == 2 for job in work)


def test_a_job_of_an_earlier_router_file_fails_with_its_reason(own_yard: Yard) -> None:
    """It was routed to a model that the file has no more: it ends, and is not put back for ever."""
    yard = own_yard
    job, other = lite_jobs(2)
    batch = yard.producer.submit_batch([job, other])
    yard.raw.hset(keys.job(job.id), "model", "gemini-of-last-year")
    yard.start("lite")
    yard.finish(batch)
    result = yard.producer.result(job.id, timeout=0)
    assert result.error is not None
    assert result.error.type is ErrorType.INVALID_REQUEST
    assert "gemini-of-last-year" in result.error.message
    assert yard.producer.result(other.id, timeout=0).ok


def test_a_killed_workers_waiting_retries_are_taken_over(slow_retries: Yard) -> None:
    """SIGKILL while jobs wait for their retry in the worker's memory: each is missed when due."""
    yard = slow_retries
    worker = yard.start("lite")
    work = lite_jobs(8, "[[sim: 503 x1]]")
    batch = yard.producer.submit_batch(work)
    wait_until(lambda: yard.producer.status(batch).retries == 8, description="all wait for a retry")
    kill(worker)
    yard.start("lite")
    yard.finish(batch, timeout_s=SLOW_RETRY_S + SOON_S)
    assert all(yard.calls(job.text) == 2 for job in work)


def test_a_killed_classify_workers_chunk_is_taken_over(own_yard: Yard) -> None:
    """SIGKILL with a chunk in hand: another worker routes it."""
    yard = own_yard
    worker = yard.start(CLASSIFY_QUEUE, concurrency=1)
    work = [Job(contents=f"Write {n} lines about rain. " * 40) for n in range(64 * 16)]
    batch = yard.producer.submit_batch(work)

    def stopped_with_a_chunk() -> bool:
        os.kill(worker.pid, signal.SIGSTOP)
        if yard.raw.hlen(UNACKED):
            return True
        os.kill(worker.pid, signal.SIGCONT)
        return False

    wait_until(stopped_with_a_chunk, description="the worker has a chunk in hand")
    assert yard.producer.status(batch).counts[JobState.ACCEPTED] > 0
    kill(worker)
    yard.start(concurrency=32)
    yard.finish(batch, timeout_s=RECOVERY_S)
    assert all(yard.calls(job.text) == 1 for job in work)


def test_jobs_survive_any_number_of_kills(own_yard: Yard) -> None:
    """Three workers in a row are killed with calls in flight; every job ends once."""
    yard = own_yard
    work = lite_jobs(30, "[[sim: latency=600ms]]")
    batch = yard.producer.submit_batch(work)
    worker = yard.start("lite")
    for _ in range(2):
        wait_until(lambda: in_flight(yard) == CONCURRENCY, description="it is busy")
        kill(worker)
        wait_until(lambda: in_flight(yard) == 0, description="its calls are gone")
        worker = yard.start("lite")
    yard.finish(batch, timeout_s=RECOVERY_S)
    results = list(yard.producer.results(batch))
    assert all(result.ok for result in results)
    assert yard.sim.stats()["calls"] <= len(work) + 2 * CONCURRENCY
    assert sum(map(losses, results)) <= 2 * CONCURRENCY
