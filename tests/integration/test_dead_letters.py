"""Failed jobs, seen and put back, on a real Valkey; a hand in the test plays the workers."""

from __future__ import annotations

import threading

import pytest
import redis

from promptyard.batch import BatchState
from promptyard.errors import BatchNotFound
from promptyard.job import ErrorType, Job, JobError, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, batches, jobs, keys, messages, running
from promptyard.store import dead_letters as letters
from promptyard.store.records import Ending
from promptyard.store.running import Release, Why
from tests.integration.test_store import (
    ATTEMPT,
    DECISION,
    RETENTION_S,
    claimed,
    in_hand,
    recorded,
    requeue,
    routed,
    submitted,
)

PRO = DECISION.model_copy(update={"tier": Tier.PRO, "model": "gemini-2.5-pro"})


def error(kind: ErrorType) -> Ending:
    """An ending with an error."""
    return Ending(error=JobError(type=kind, message=f"{kind} it was"))


def end_as_failed(
    store: Store, job_id: str, token: str, kind: ErrorType = ErrorType.TIMEOUT
) -> None:
    """Record a failure of a job in hand."""
    attempt = ATTEMPT.model_copy(update={"error": error(kind).error})
    call = running.record(
        job_id,
        token,
        error(kind),
        state=JobState.FAILED,
        attempts=[attempt],
        retention_s=RETENTION_S,
    )
    assert store.do(call)


def failed(store: Store, batch_id: str | None = None, kind: ErrorType = ErrorType.TIMEOUT) -> str:
    """A job that went down the line and failed: its id."""
    job_id, token = in_hand(store, batch_id)
    end_as_failed(store, job_id, token, kind)
    return job_id


def failed_again(store: Store, job_id: str) -> None:
    """A job that waits in its tier's queue fails (anew)."""
    claim, token = claimed(store, job_id)
    assert claim.verdict == "run"
    end_as_failed(store, job_id, token)


def done_batch(producer: Producer, store: Store, count: int) -> tuple[str, list[str]]:
    """A batch of failed jobs that has ended: its id, and theirs."""
    batch_id = producer.open_batch()
    ids = [failed(store, batch_id) for _ in range(count)]
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    return batch_id, ids


def stream(store: Store, batch_id: str) -> list[str]:
    """Job ids of the batch's result stream."""
    page = batches.results_page(batch_id, "0-0", count=10_000, block_ms=None)
    return [job_id for _, job_id in store.do(page)]


def first_of(raw: redis.Redis, queue: str) -> str | None:
    """The job of the message that is taken next."""
    message = raw.lindex(keys.queue(queue, 5), -1)
    return messages.first_job(message) if isinstance(message, bytes) else None


def test_a_failed_job_goes_back_to_its_tier(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """State, counters, stream and dead letters move together; what the failure left is gone."""
    batch_id, (job_id,) = done_batch(producer, store, 1)
    raw.hset(keys.job(job_id), mapping={"lost": 2, "since": "1.0", "deadline": "2.0"})
    raw.delete(keys.queue("lite", 5))
    assert producer.retry(batch_id) == 1

    status = producer.status(batch_id)
    assert (status.state, status.finished, status.revived) == (BatchState.RUNNING, 0, 1)
    assert {state: n for state, n in status.counts.items() if n} == {JobState.ROUTED: 1}
    assert (status.tiers[Tier.LITE].routed, status.tiers[Tier.LITE].finished) == (1, 0)
    assert status.cost_usd > 0, "what was spent stays spent"
    assert stream(store, batch_id) == []
    assert not raw.exists(keys.dead_letters(batch_id))
    assert first_of(raw, "lite") == job_id
    assert raw.zscore(keys.waiting("lite", 5), job_id) is not None
    record = raw.hgetall(keys.job(job_id))
    dropped = {b"answer", b"finished", b"entry", b"lost", b"since", b"deadline", b"lease"}
    assert not dropped & set(record)
    assert record[b"model"] == DECISION.model.encode()

    claim, token = claimed(store, job_id)
    assert (claim.verdict, claim.tier, claim.pardoned) == ("run", "lite", 1)
    assert recorded(store, job_id, token)
    status = producer.status(batch_id)
    assert (status.state, status.finished) == (BatchState.DONE, 1)
    assert stream(store, batch_id) == [job_id]
    assert [result.ok for result in producer.results(batch_id)] == [True]
    result = producer.result(job_id, timeout=0)
    assert [attempt.error is None for attempt in result.attempts] == [False, True]


def test_the_times_to_live_are_those_of_open_ones(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """A batch that has ended lives for its retention; one that goes on, as long as open ones."""
    batch_id, (job_id,) = done_batch(producer, store, 1)
    names = [keys.job(job_id), keys.batch(batch_id), keys.batch_jobs(batch_id)]
    names.append(keys.batch_results(batch_id))
    assert all(0 < raw.ttl(name) <= RETENTION_S for name in names)
    producer.retry(batch_id)
    assert all(raw.ttl(name) > 10 * RETENTION_S for name in names)


def test_it_goes_where_it_was_routed_first(producer: Producer, store: Store) -> None:
    """A job that fell back from pro to lite goes back to pro, in the tiers' counts as well."""
    batch_id = producer.open_batch()
    job_id = submitted(store, Job(contents="x"), batch_id)
    routed(store, job_id, PRO)
    _, token = claimed(store, job_id)
    to = Release(tier=Tier.LITE, model="gemini-2.5-flash-lite", why=Why.FALLBACK)
    store.do(running.release(job_id, token, to, priority=5))
    failed_again(store, job_id)
    tiers = producer.status(batch_id).tiers
    assert (tiers[Tier.PRO].routed, tiers[Tier.LITE].routed) == (0, 1)

    assert producer.retry_job(job_id)
    tiers = producer.status(batch_id).tiers
    assert (tiers[Tier.PRO].routed, tiers[Tier.LITE].routed) == (1, 0)
    assert tiers[Tier.LITE].finished == 0
    claim, _ = claimed(store, job_id)
    assert (claim.tier, claim.model) == ("pro", "gemini-2.5-pro")
    assert not producer.retry_job(job_id), "it is running"
    assert not producer.retry_job("nobody")


def test_a_job_that_named_its_tier_goes_there(producer: Producer, store: Store) -> None:
    """Poison leaves no decision: what the job says itself counts, not where it fell back to."""
    job_id = submitted(store, Job(contents="x", tier=Tier.PRO))
    _, token = claimed(store, job_id)
    to = Release(tier=Tier.LITE, model="gemini-2.5-flash-lite", why=Why.FALLBACK)
    store.do(running.release(job_id, token, to, priority=5))
    claimed(store, job_id, lease_s=0.0)
    assert store.do(requeue(job_id, max_worker_lost=1)) == 2
    assert producer.retry_job(job_id)
    claim, _ = claimed(store, job_id)
    assert (claim.verdict, claim.tier, claim.model) == ("run", "pro", "")


def test_a_job_that_was_never_routed_is_classified(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """It goes back to classify, in one message with its like; each once."""
    batch_id = producer.open_batch()
    ids = [submitted(store, Job(contents=f"x{n}"), batch_id) for n in range(3)]
    for job_id in ids:
        store.do(jobs.reject(job_id, error(ErrorType.INTERNAL), retention_s=RETENTION_S))
    raw.delete(keys.queue("classify", 5))
    assert producer.retry(batch_id) == 3
    assert producer.status(batch_id).counts[JobState.ACCEPTED] == 3
    assert raw.llen(keys.queue("classify", 5)) == 1
    assert first_of(raw, "classify") == ids[0]
    assert routed(store, ids[0]) == 1
    assert claimed(store, ids[0])[0].verdict == "run"


def test_two_retries_at_once_put_each_job_back_once(
    producer: Producer, store: Store, raw: redis.Redis, redis_url: str
) -> None:
    """Eight threads retry one batch: the counts add up to its jobs, and so do the messages."""
    batch_id, ids = done_batch(producer, store, 300)
    raw.delete(keys.queue("lite", 5))
    counts: list[int] = []
    barrier = threading.Barrier(8)

    def retry() -> None:
        barrier.wait()
        counts.append(producer.retry(batch_id))

    threads = [threading.Thread(target=retry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == len(ids) == raw.llen(keys.queue("lite", 5))
    assert producer.status(batch_id).counts[JobState.ROUTED] == len(ids)


def test_a_retry_sent_again_does_not_meet_a_new_failure(producer: Producer, store: Store) -> None:
    """Its reply was lost, the job failed anew meanwhile: that failure stays for somebody to see."""
    batch_id, (job_id,) = done_batch(producer, store, 1)
    letter = store.do(letters.letter(job_id))
    assert letter is not None
    revival = letters.Revival(letter=letter, tier=Tier.LITE, model=DECISION.model)
    call = letters.revive([revival], retention_s=RETENTION_S)
    assert store.do(call) == 1
    failed_again(store, job_id)
    assert store.do(call) == 0
    assert producer.status(batch_id).counts[JobState.FAILED] == 1
    assert producer.retry(batch_id) == 1
    claim, _ = claimed(store, job_id)
    assert claim.pardoned == 2


def test_what_expires_meanwhile_stays_gone(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """A batch that is gone leaves no counters without a TTL behind (the fixture looks)."""
    batch_id, (job_id,) = done_batch(producer, store, 1)
    letter = store.do(letters.letter(job_id))
    assert letter is not None
    raw.delete(keys.batch(batch_id), keys.batch_jobs(batch_id), keys.batch_results(batch_id))
    revival = letters.Revival(letter=letter, tier=Tier.LITE, model=DECISION.model)
    assert store.do(letters.revive([revival], retention_s=RETENTION_S)) == 0
    assert raw.keys(f"{keys.batch(batch_id)}*") == []
    with pytest.raises(BatchNotFound, match="promptyard status"):
        producer.retry(batch_id)
    with pytest.raises(BatchNotFound, match="promptyard status"):
        list(producer.failed(batch_id))


def test_records_that_have_expired_break_nothing(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """Nor does one that is damaged: the others are listed, put back and followed."""
    batch_id, ids = done_batch(producer, store, 5)
    raw.delete(keys.job(ids[0]))
    raw.hset(keys.job(ids[1]), mapping={"answer": "{", "decision": "{", "request": "{"})
    found = [result.id for result in producer.failed(batch_id)]
    assert found == ids[1:]
    assert producer.retry(batch_id) == 4
    assert raw.hget(keys.job(ids[1]), "state") == b"accepted"
    status = producer.status(batch_id)
    assert (status.counts[JobState.ROUTED], status.counts[JobState.ACCEPTED]) == (3, 1)
    assert (status.tiers[Tier.LITE].routed, status.finished) == (4, 1)
    assert list(producer.results(batch_id)) == []
