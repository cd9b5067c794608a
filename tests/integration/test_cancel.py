"""Cancelling: many jobs in few steps, whatever state they are in."""

from __future__ import annotations

import pytest
import redis

from promptyard import core
from promptyard.batch import BatchState
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, batches, keys, parking, running
from promptyard.store.running import Release
from tests.integration.test_dead_letters import failed, stream
from tests.integration.test_store import RETENTION_S, claimed, in_hand, recorded, submitted

LITE = "gemini-2.5-flash-lite"


def parked(store: Store, batch_id: str) -> str:
    """A job that waits for its model."""
    job_id, token = in_hand(store, batch_id)
    place = parking.model_place(LITE)
    to = Release(tier=Tier.LITE, model=LITE, place=place)
    assert store.do(running.release(job_id, token, to, priority=5))
    return job_id


@pytest.mark.parametrize("keep_running", [False, True])
def test_jobs_in_every_state_are_cancelled_together(
    producer: Producer, store: Store, raw: redis.Redis, keep_running: bool
) -> None:
    """Counters of states and tiers, stream and waiting indexes agree with each job's end."""
    batch_id = producer.open_batch()
    waiting = [submitted(store, Job(contents=f"x{n}"), batch_id) for n in range(7)]
    queued = [submitted(store, Job(contents="x", tier=Tier.PRO), batch_id) for _ in range(5)]
    held_up = [parked(store, batch_id) for _ in range(3)]
    in_flight, token = in_hand(store, batch_id)
    ended = failed(store, batch_id)
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    cancelled = [*waiting, *queued, *held_up, *([] if keep_running else [in_flight])]
    assert producer.cancel(batch_id, keep_running=keep_running) == len(cancelled)
    assert producer.cancel(batch_id, keep_running=keep_running) == 0

    assert recorded(store, in_flight, token) is keep_running
    status = producer.status(batch_id)
    wanted = {JobState.CANCELLED: len(cancelled), JobState.FAILED: 1}
    wanted |= {JobState.SUCCEEDED: 1} if keep_running else {}
    assert {state: number for state, number in status.counts.items() if number} == wanted
    assert (status.state, status.finished, status.total) == (BatchState.DONE, 17, 17)
    assert [(one.routed, one.finished) for one in status.tiers.values()] == [(5, 5), (0, 0), (5, 5)]
    assert sorted(stream(store, batch_id)) == sorted({*cancelled, in_flight, ended})
    assert raw.keys(f"{keys.waiting('*', 0)[:-2]}*") == []
    assert raw.keys(f"{keys.PARKED}*") == []
    assert 0 < raw.ttl(keys.batch_results(batch_id)) <= Settings().retention_s
    assert claimed(store, queued[0])[0].verdict == "ended"


def test_the_first_to_end_are_many(producer: Producer, raw: redis.Redis) -> None:
    """The stream of an open batch has its TTL from its first entry on."""
    batch_id = producer.open_batch()
    for prompt in ("a", "b", "c"):
        producer.submit(Job(contents=prompt, tier=Tier.LITE), batch_id=batch_id)
    producer.submit(Job(contents="d"), batch_id=batch_id)
    assert producer.cancel(batch_id) == 4
    assert producer.status(batch_id).state is BatchState.OPEN
    assert raw.ttl(keys.batch_results(batch_id)) > Settings().retention_s


def test_a_long_batch_is_swept_in_parts(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a script, and sweeps of several scripts, that do not divide the batch evenly."""
    monkeypatch.setattr(core, "CANCEL_SWEEP", 100)
    monkeypatch.setattr(core, "CANCEL_AT_ONCE", 30)
    batch = producer.submit_batch(f"prompt {n}" for n in range(257))
    assert producer.cancel(batch) == 257
    assert producer.status(batch).state is BatchState.DONE
