"""Chunks in a classify worker's hands: the scripts, one race each, on a real Valkey."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import redis

from promptyard.job import Decision, ErrorType, Job, JobError, JobState
from promptyard.names import CLASSIFY_QUEUE, Tier
from promptyard.producer import Producer
from promptyard.store import Store, jobs, keys, messages, taking
from promptyard.store.records import Ending
from promptyard.store.taking import Hand

RETENTION_S = 3600.0
LEASE_S = 60.0
DECISION = Decision(stage="default", tier=Tier.LITE, model="m", policy_version="v")
POISON = Ending(error=JobError(type=ErrorType.POISON, message="no more"))


def submitted(store: Store, count: int, batch_id: str | None = None) -> list[str]:
    """Jobs of one classify message."""
    chunk = [Job(contents=f"Spell {n}.") for n in range(count)]
    receipts = store.do(jobs.submit(chunk, batch_id=batch_id, retention_s=RETENTION_S))
    return [receipt.job_id for receipt in receipts]


def taken(
    store: Store, ids: list[str], *, token: str = "", lease_s: float = LEASE_S, alone: bool = False
) -> Hand:
    """Take a chunk, with a new token if none is given."""
    return store.do(taking.take(ids, token or uuid.uuid4().hex, lease_s=lease_s, alone=alone))


def recovered(store: Store, job_id: str, *, most: int = 3) -> int:
    """Put back one job."""
    return store.do(
        taking.recover(
            job_id, priority=5, max_worker_lost=most, poison=POISON, retention_s=RETENTION_S
        )
    )


def members(raw: redis.Redis, key: str) -> list[str]:
    """Of a sorted set."""
    found: list[Any] = raw.zrange(key, 0, -1)
    return [member.decode() for member in found]


def waiting(raw: redis.Redis) -> list[str]:
    """Jobs that wait for a classify message."""
    return members(raw, keys.waiting(CLASSIFY_QUEUE, 5))


def in_hand(raw: redis.Redis) -> list[str]:
    """Jobs in some worker's hands."""
    return members(raw, keys.TAKEN)


def test_a_chunk_is_in_one_workers_hands(store: Store, raw: redis.Redis) -> None:
    """Its doubles find nothing; the same taker, who missed the reply, finds it again."""
    ids = submitted(store, 3)
    first = taken(store, ids, token="a")
    assert list(first.requests) == ids
    assert not first.suspects
    assert taken(store, ids, token="b") == Hand({}, [])
    assert taken(store, ids, token="a") == first
    assert (waiting(raw), sorted(in_hand(raw))) == ([], sorted(ids))


def test_a_lease_that_has_run_out_is_not_taken_over(store: Store) -> None:
    """Only the caretaker, which waits after an outage, takes a job out of a worker's hands."""
    (job_id,) = submitted(store, 1)
    taken(store, [job_id], lease_s=0.0)
    assert taken(store, [job_id]) == Hand({}, [])
    assert recovered(store, job_id) == 1
    assert taken(store, [job_id], alone=True).requests


def test_what_has_moved_on_is_left_alone(store: Store, raw: redis.Redis) -> None:
    """Routed, cancelled and forgotten jobs are not taken; cancelled ones leave the hand."""
    ids = submitted(store, 4)
    store.do(jobs.route([jobs.Routed(ids[0], 5, DECISION)]))
    taken(store, [ids[1]])
    store.do(jobs.cancel(ids[1:3], keep_running=False, retention_s=RETENTION_S))
    assert list(taken(store, [*ids, "gone"]).requests) == [ids[3]]
    assert in_hand(raw) == [ids[3]]


def test_routing_and_refusing_empty_the_hand(store: Store, raw: redis.Redis) -> None:
    """And leave no note on the record."""
    routed, refused = ids = submitted(store, 2)
    taken(store, ids)
    assert store.do(jobs.route([jobs.Routed(routed, 5, DECISION)])) == 1
    assert store.do(jobs.reject(refused, POISON, retention_s=RETENTION_S))
    assert in_hand(raw) == waiting(raw) == []
    for job_id in ids:
        assert raw.hmget(keys.job(job_id), "taken", "lost") == [None, None]


def test_what_is_given_back_was_not_lost(store: Store, raw: redis.Redis) -> None:
    """It waits for the caller's message, from when that is due; what is routed stays so."""
    first, second = ids = submitted(store, 2)
    taken(store, ids, token="a")
    store.do(jobs.route([jobs.Routed(first, 5, DECISION)]))
    give_back = taking.give_back(ids, "a", delay_s=30.0)
    assert [store.do(give_back), store.do(give_back)] == [1, 0]
    assert (in_hand(raw), waiting(raw)) == ([], [second])
    since_s = raw.zscore(keys.waiting(CLASSIFY_QUEUE, 5), second) or 0
    assert since_s > store.do(jobs.time_s()) + 20
    assert raw.llen(keys.queue(CLASSIFY_QUEUE, 5)) == 1, "the submit's own message"
    assert taken(store, ids).requests.keys() == {second}, "not alone: no worker was lost"


def test_a_chunk_is_given_back_by_its_holder(store: Store, raw: redis.Redis) -> None:
    """Its lease ran out, another has it in hand: the first one gives nothing back."""
    (job_id,) = submitted(store, 1)
    taken(store, [job_id], token="a", lease_s=0.0)
    recovered(store, job_id)
    taken(store, [job_id], token="b", alone=True)
    assert store.do(taking.give_back([job_id], "a", delay_s=0.0)) == 0
    assert in_hand(raw) == [job_id]


def test_a_chunk_is_handed_over_with_a_message(store: Store, raw: redis.Redis) -> None:
    """One message for what was still in hand, and none if that was nothing."""
    ids = submitted(store, 2)
    taken(store, ids, token="a")
    raw.delete(keys.queue(CLASSIFY_QUEUE, 5))
    hand_over = taking.hand_over(ids, "a", priority=5)
    assert [store.do(hand_over), store.do(hand_over)] == [2, 0]
    message = raw.lpop(keys.queue(CLASSIFY_QUEUE, 5))
    assert isinstance(message, bytes)
    assert messages.first_job(message) == ids[0]
    assert not raw.exists(keys.queue(CLASSIFY_QUEUE, 5))


def test_a_lost_job_goes_back_alone(store: Store, raw: redis.Redis) -> None:
    """Once its lease has run out, once, with its own message; then only who is free gets it."""
    first, second = ids = submitted(store, 2)
    taken(store, ids)
    assert not recovered(store, first), "its lease still runs"
    raw.zadd(keys.TAKEN, dict.fromkeys(ids, 1.0))
    assert store.do(taking.leases_run_out(2.0, limit=1)) in ([first], [second])
    raw.delete(keys.queue(CLASSIFY_QUEUE, 5))
    assert [recovered(store, first), recovered(store, first)] == [1, 0]
    assert raw.llen(keys.queue(CLASSIFY_QUEUE, 5)) == 1
    assert (waiting(raw), in_hand(raw)) == ([first], [second])
    assert taken(store, [first]) == Hand({}, [first])
    assert waiting(raw) == [first], "it is not taken yet"
    assert taken(store, [first], alone=True).requests.keys() == {first}


def test_a_renewal_brings_nothing_back(store: Store, raw: redis.Redis) -> None:
    """A job that was routed meanwhile stays out of hand."""
    (job_id,) = submitted(store, 1)
    store.do(taking.renew([job_id], 9e9))
    assert in_hand(raw) == []


@pytest.mark.parametrize("most", [2, 3])
def test_worker_after_worker_is_poison(
    store: Store, producer: Producer, raw: redis.Redis, most: int
) -> None:
    """The job fails, is counted, told and found among the dead letters; its next life is new."""
    batch_id = producer.open_batch()
    (job_id,) = submitted(store, 1, batch_id)
    verdicts = []
    for _ in range(most):
        taken(store, [job_id], lease_s=0.0, alone=True)
        verdicts.append(recovered(store, job_id, most=most))
    assert verdicts == [1] * (most - 1) + [2]
    result = producer.result(job_id, timeout=0)
    assert result.error == POISON.error
    assert producer.status(batch_id).counts[JobState.FAILED] == 1
    assert raw.zscore(keys.dead_letters(batch_id), job_id)
    assert raw.hmget(keys.job(job_id), "taken", "lost") == [None, None]
    assert in_hand(raw) == waiting(raw) == []


def test_a_forgotten_job_leaves_the_hand(store: Store, raw: redis.Redis) -> None:
    """Its record has gone with its retention."""
    (job_id,) = submitted(store, 1)
    taken(store, [job_id], lease_s=0.0)
    raw.delete(keys.job(job_id))
    assert recovered(store, job_id) == 0
    assert in_hand(raw) == []
