"""The scripts, one race each, on a real Valkey."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import redis

from promptyard.batch import BatchState
from promptyard.job import Attempt, Decision, ErrorType, Job, JobError, JobState, Usage
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, batches, jobs, keys, running, waiting
from promptyard.store.call import Call
from promptyard.store.records import Ending
from promptyard.store.running import Release, Why
from tests.conftest import wait_until

RETENTION_S = 3600.0
DECISION = Decision(
    stage="semantic",
    route="lite",
    tier=Tier.LITE,
    model="gemini-2.5-flash-lite",
    scores={"lite": 0.9, "pro": 0.1},
    margin=0.8,
    policy_version="test",
)
ATTEMPT = Attempt(
    model="gemini-2.5-flash-lite",
    started=datetime.now(UTC),
    duration_s=0.5,
    usage=Usage(prompt_tokens=10, output_tokens=2),
    cost_usd=0.000_001_8,
)
ENDING = Ending(text="spam", model="gemini-2.5-flash-lite")
LOST = Attempt(
    model="gemini-2.5-flash-lite",
    started=datetime.now(UTC),
    duration_s=0.5,
    error=JobError(type=ErrorType.WORKER_LOST, message="silent"),
)
POISON = Ending(error=JobError(type=ErrorType.POISON, message="no more"))


def submitted(store: Store, job: Job, batch_id: str | None = None) -> str:
    """Submit one job through the script."""
    return store.do(jobs.submit([job], batch_id=batch_id, retention_s=RETENTION_S))[0].job_id


def routed(store: Store, job_id: str, decision: Decision = DECISION) -> int:
    """Dispatch one job through the script."""
    return store.do(jobs.route([jobs.Routed(job_id, 5, decision)]))


def claimed(store: Store, job_id: str, *, lease_s: float = 60.0) -> tuple[running.Claim, str]:
    """Claim one job with a new token."""
    token = uuid.uuid4().hex
    call = running.claim(job_id, token, lease_s=lease_s, retention_s=RETENTION_S)
    return store.do(call), token


def recorded(store: Store, job_id: str, token: str, ending: Ending = ENDING) -> bool:
    """Record an ending."""
    call = running.record(job_id, token, ending, attempts=[ATTEMPT], retention_s=RETENTION_S)
    return store.do(call)


def requeue(job_id: str, *, max_worker_lost: int = 3) -> Call[int]:
    """Put back one job of lite."""
    return running.requeue(
        job_id,
        tier="lite",
        priority=5,
        attempt=LOST,
        max_worker_lost=max_worker_lost,
        poison=POISON,
        retention_s=RETENTION_S,
    )


def lapse(store: Store, job_id: str) -> None:
    """Have the lease of a running job run out."""
    store.do(Call("ZADD", (keys.LEASES, "XX", 1.0, job_id), int))


def in_hand(store: Store, batch_id: str | None = None) -> tuple[str, str]:
    """A job on its way: (id, token)."""
    job_id = submitted(store, Job(contents="x"), batch_id)
    routed(store, job_id)
    claim, token = claimed(store, job_id)
    assert claim.verdict == "run"
    return job_id, token


def test_submit_writes_record_and_message_together(store: Store, raw: redis.Redis) -> None:
    """A submitted job has a record in state accepted and one classify message."""
    job_id = submitted(store, Job(contents="hello"))
    assert raw.hget(keys.job(job_id), "state") == b"accepted"
    message = json.loads(raw.lindex(keys.queue("classify", 5), 0))
    assert message["headers"]["task"] == "promptyard.classify"


def test_submitting_again_is_one_job(store: Store, raw: redis.Redis) -> None:
    """The same id or the same idempotency key writes nothing and sends nothing."""
    first = Job(contents="a", idempotency_key="order-7")
    again = Job(contents="a", idempotency_key="order-7")
    receipts = [
        store.do(jobs.submit([job], batch_id="b", retention_s=RETENTION_S))[0]
        for job in (first, first, again)
    ]
    assert [receipt.created for receipt in receipts] == [True, False, False]
    assert {receipt.job_id for receipt in receipts} == {first.id}
    assert raw.llen(keys.queue("classify", 5)) == 1
    assert raw.hget(keys.batch("b"), "total") == b"1"


def test_a_named_tier_skips_classify(store: Store, raw: redis.Redis) -> None:
    """A job with a tier is routed at once; its message lies in that tier's queue."""
    submitted(store, Job(contents="a", tier=Tier.PRO, priority=0))
    assert raw.llen("pro") == 1
    assert raw.llen(keys.queue("classify", 0)) == 0


def test_a_chunk_is_dispatched_once(store: Store, raw: redis.Redis) -> None:
    """A classify message delivered twice sends one generate message."""
    job_id = submitted(store, Job(contents="a"))
    assert (routed(store, job_id), routed(store, job_id)) == (1, 0)
    assert raw.llen(keys.queue("lite", 5)) == 1


def test_one_of_many_claims_wins(store: Store) -> None:
    """Sixteen threads claim one job at once: one runs, the others are told it is leased."""
    job_id = submitted(store, Job(contents="a"))
    routed(store, job_id)
    verdicts: list[str] = []
    barrier = threading.Barrier(16)

    def claim() -> None:
        barrier.wait()
        verdicts.append(claimed(store, job_id)[0].verdict)

    threads = [threading.Thread(target=claim) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(verdicts) == ["leased"] * 15 + ["run"]


def test_a_claim_before_routing_waits(store: Store) -> None:
    """A job not routed yet is not run, and an unknown one is gone."""
    job_id = submitted(store, Job(contents="a"))
    assert claimed(store, job_id)[0].verdict == "waiting"
    assert claimed(store, "nobody")[0].verdict == "gone"


def test_a_claim_sent_again_is_the_same_claim(store: Store) -> None:
    """The reply got lost with its connection: the holder gets its job, and nobody else does."""
    job_id = submitted(store, Job(contents="a"))
    routed(store, job_id)
    call = running.claim(job_id, "mine", lease_s=60.0, retention_s=RETENTION_S)
    assert [store.do(call).verdict for _ in range(2)] == ["run", "run"]
    assert claimed(store, job_id)[0].verdict == "leased"


def test_the_first_result_wins(store: Store) -> None:
    """A worker that lost its lease to another cannot record over it."""
    job_id = submitted(store, Job(contents="a"), "b")
    routed(store, job_id)
    _, slow = claimed(store, job_id, lease_s=0.0)
    assert claimed(store, job_id)[0].verdict == "leased", "only the reaper may take it away"
    assert store.do(requeue(job_id)) == 1
    taken, quick = claimed(store, job_id)
    assert taken.verdict == "run"
    assert not recorded(store, job_id, slow, Ending(text="late"))
    assert recorded(store, job_id, quick)
    assert not recorded(store, job_id, quick), "a second record of the same holder"
    result = store.do(jobs.job_result(job_id))
    assert result is not None
    assert result.text == "spam"


def test_a_finished_job_is_not_run_again(store: Store) -> None:
    """A redelivered message of a finished job makes no call."""
    job_id, token = in_hand(store)
    recorded(store, job_id, token)
    assert claimed(store, job_id)[0].verdict == "ended"


def test_counters_and_stream_move_with_the_state(producer: Producer, store: Store) -> None:
    """One result: status, stream, tokens and cost agree, and the batch is done."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    assert producer.status(batch_id).counts[JobState.RUNNING] == 1
    recorded(store, job_id, token)
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    status = producer.status(batch_id)
    assert status.state is BatchState.DONE
    assert status.counts[JobState.SUCCEEDED] == status.finished == 1
    assert status.tiers[Tier.LITE].finished == status.tiers[Tier.LITE].routed == 1
    assert status.usage.prompt_tokens == 10
    assert status.cost_usd == pytest.approx(0.000_001_8)
    assert [result.id for result in producer.follow(batch_id)] == [job_id]


def test_a_retry_keeps_attempts_and_moves_tiers(producer: Producer, store: Store) -> None:
    """Release puts the attempt on record; a fallback moves the job to the other tier's count."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    bad = ATTEMPT.model_copy(update={"error": JobError(type=ErrorType.SERVER_ERROR, message="503")})
    to = Release(tier=Tier.FLASH, model="gemini-2.5-flash", attempts=[bad], why=Why.FALLBACK)
    release = running.release(job_id, token, to, priority=5)
    assert store.do(release)
    assert store.do(release), "its reply was lost: the worker must still send the message"
    status = producer.status(batch_id)
    assert (status.retries, status.fallbacks) == (1, 1)
    assert (status.tiers[Tier.LITE].routed, status.tiers[Tier.FLASH].routed) == (0, 1)
    claim, token = claimed(store, job_id)
    assert store.do(running.release(job_id, "another", to, priority=5)) == 0
    assert (claim.tier, claim.model) == ("flash", "gemini-2.5-flash")
    recorded(store, job_id, token)
    result = producer.result(job_id, timeout=5)
    assert [attempt.error is None for attempt in result.attempts] == [False, True]


def test_cancel_fences_the_call_in_flight(producer: Producer, store: Store) -> None:
    """A cancelled job keeps its state when its worker comes back with an answer."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    waiting = submitted(store, Job(contents="y"), batch_id)
    assert producer.cancel(batch_id) == 2
    assert not recorded(store, job_id, token)
    assert claimed(store, waiting)[0].verdict == "ended"
    result = producer.result(job_id, timeout=0)
    assert result.status is JobState.CANCELLED
    assert result.error is not None
    assert producer.status(batch_id).counts[JobState.CANCELLED] == 2


def test_a_late_job_expires_without_a_call(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """A job not claimed within expires_in ends as expired."""
    job_id = submitted(store, Job(contents="a", expires_in=timedelta(milliseconds=1)))
    routed(store, job_id)
    deadline = float(raw.hget(keys.job(job_id), "deadline") or 0)
    wait_until(lambda: store.do(jobs.time_s()) > deadline, description="the deadline has passed")
    assert claimed(store, job_id)[0].verdict == "expired"
    assert producer.result(job_id, timeout=0).status is JobState.EXPIRED


def test_a_lost_workers_job_is_put_back(store: Store, raw: redis.Redis) -> None:
    """Only a job whose lease has run out is requeued, once, with the loss on record."""
    job_id = submitted(store, Job(contents="a"))
    routed(store, job_id)
    claimed(store, job_id)
    assert not store.do(requeue(job_id)), "its lease still runs"
    lapse(store, job_id)
    assert store.do(requeue(job_id)) == 1
    assert not store.do(requeue(job_id)), "it is not running any more"
    assert raw.llen(keys.queue("lite", 5)) == 2


def test_the_bill_of_a_worker_that_comes_back_is_counted_once(
    producer: Producer, store: Store
) -> None:
    """Its job was taken over and has ended: the answer is dropped, what was paid is not."""
    batch_id = producer.open_batch()
    job_id, late = in_hand(store, batch_id)
    lapse(store, job_id)
    assert store.do(requeue(job_id)) == 1
    _, token = claimed(store, job_id)
    assert recorded(store, job_id, token)
    paid_usd = producer.status(batch_id).cost_usd
    assert paid_usd > 0
    assert [recorded(store, job_id, late), recorded(store, job_id, late)] == [False, False]
    assert producer.status(batch_id).cost_usd == 2 * paid_usd
    assert producer.result(job_id, timeout=0).attempts == (LOST, ATTEMPT, ATTEMPT)


def test_renewing_does_not_bring_back_a_lost_lease(store: Store, raw: redis.Redis) -> None:
    """A renewal after the job ended creates no lease."""
    job_id, token = in_hand(store)
    recorded(store, job_id, token)
    store.do(running.renew([job_id], 9e9))
    assert raw.zcard(keys.LEASES) == 0


def test_a_renewal_that_was_long_on_its_way_ends_no_lease(store: Store, raw: redis.Redis) -> None:
    """The job's next holder, who renewed it meanwhile, keeps it."""
    job_id, _ = in_hand(store)
    store.do(running.renew([job_id], 9e9))
    store.do(running.renew([job_id], 1.0))
    assert raw.zscore(keys.LEASES, job_id) == 9e9


def test_a_restarted_server_gets_its_scripts_again(store: Store, raw: redis.Redis) -> None:
    """Scripts flushed in the middle are loaded again; nothing runs twice."""
    submitted(store, Job(contents="a"), "b")
    raw.script_flush()
    calls = [
        jobs.submit([Job(contents=str(n))], batch_id="b", retention_s=RETENTION_S) for n in range(5)
    ]
    assert len(store.do_many(calls)) == 5
    assert raw.hget(keys.batch("b"), "total") == b"6"


def test_records_end_after_their_retention(store: Store, raw: redis.Redis) -> None:
    """A finished record has the retention as its TTL, an open one much longer."""
    job_id, token = in_hand(store)
    assert raw.ttl(keys.job(job_id)) > 10 * RETENTION_S
    recorded(store, job_id, token)
    assert raw.ttl(keys.job(job_id)) <= RETENTION_S


def test_a_job_waits_in_the_index_of_its_queue(store: Store, raw: redis.Redis) -> None:
    """From the push of its message to the claim, whatever it waits for; then no index has it."""

    def places() -> list[tuple[str, int]]:
        return [
            (queue, priority)
            for queue in ("classify", "lite", "flash")
            for priority in (2, 5)
            if raw.zscore(keys.waiting(queue, priority), job_id) is not None
        ]

    job_id = submitted(store, Job(contents="a", priority=2))
    assert places() == [("classify", 2)]
    routed(store, job_id)
    assert places() == [("lite", 2)]
    _, token = claimed(store, job_id)
    assert places() == []
    to = Release(tier=Tier.FLASH, model="m", attempts=[ATTEMPT], why=Why.FALLBACK, delay_s=60.0)
    store.do(running.release(job_id, token, to, priority=2))
    assert places() == [("flash", 2)]
    due = raw.zscore(keys.waiting("flash", 2), job_id) or 0
    assert due > store.do(jobs.time_s()) + 50, "a retry waits from the moment it is due"
    store.do(jobs.cancel([job_id], keep_running=False, retention_s=RETENTION_S))
    assert places() == []


def test_a_lost_message_is_sent_again_by_one(store: Store, raw: redis.Redis) -> None:
    """Of two workers that look at once, the second finds the waiting begun anew."""
    job_id = submitted(store, Job(contents="a"))
    cutoff = store.do(jobs.time_s()) + 1e-3
    wait_until(lambda: store.do(jobs.time_s()) > cutoff, description="the cutoff has passed")
    call = waiting.announce_again("classify", 5, [job_id, "gone"], cutoff_s=cutoff)
    assert [store.do(call), store.do(call)] == [1, 0]
    assert raw.llen(keys.queue("classify", 5)) == 2
    assert store.do(waiting.next_job("classify", 5)) == job_id
    raw.delete(keys.job(job_id))  # its retention has passed
    store.do(waiting.announce_again("classify", 5, [job_id], cutoff_s=9e9))
    assert raw.zcard(keys.waiting("classify", 5)) == 0
