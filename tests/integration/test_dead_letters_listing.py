"""Which failed jobs are shown and put back, page by page, and what a reader of results sees."""

from __future__ import annotations

import asyncio

import pytest
import redis

from promptyard import dead_letters
from promptyard.async_producer import AsyncProducer
from promptyard.batch import BatchState
from promptyard.catalog import Catalog
from promptyard.errors import SettingsError, StoreError
from promptyard.job import ErrorType, JobState
from promptyard.producer import Producer
from promptyard.store import Store, batches, fleet, keys
from tests.integration.test_dead_letters import (
    done_batch,
    failed,
    failed_again,
    stream,
)
from tests.integration.test_store import RETENTION_S, claimed, in_hand, recorded

#: The model that the jobs of these tests failed on.
MODEL = "gemini-2.5-flash-lite"


def mixed_batch(producer: Producer, store: Store) -> str:
    """Three timeouts and two server errors, ended."""
    batch_id = producer.open_batch()
    for kind in [ErrorType.TIMEOUT] * 3 + [ErrorType.SERVER_ERROR] * 2:
        failed(store, batch_id, kind)
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    return batch_id


def test_failed_jobs_are_listed_as_results(producer: Producer, store: Store) -> None:
    """Type, message, attempts, model, when; the first to fail first, and nothing else."""
    batch_id, ids = done_batch(producer, store, 3)
    job_id, token = in_hand(store, batch_id)
    recorded(store, job_id, token)
    found = list(producer.failed(batch_id))
    assert [result.id for result in found] == ids
    assert all(result.status is JobState.FAILED for result in found)
    first = found[0]
    assert first.error is not None
    assert (first.error.type, first.error.message) == (ErrorType.TIMEOUT, "timeout it was")
    assert (first.model, first.tier, len(first.attempts)) == (MODEL, "lite", 1)
    assert first.timings is not None


def test_without_a_batch_all_recent_ones_are_listed(producer: Producer, store: Store) -> None:
    """The newest batch first, then jobs that belong to none, which go back one by one."""
    _, old = done_batch(producer, store, 2)
    _, new = done_batch(producer, store, 2)
    single = failed(store)
    assert [result.id for result in producer.failed()] == [*new, *old, single]
    assert producer.retry_job(single)
    assert [result.id for result in producer.failed()] == [*new, *old]


def test_a_listing_goes_through_every_page(
    producer: Producer, store: Store, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where many failed at one moment, and though some are put back meanwhile."""
    monkeypatch.setattr(dead_letters, "PAGE", 3)
    batch_id, ids = done_batch(producer, store, 17)
    moment = float(raw.zscore(keys.dead_letters(batch_id), ids[4]) or 0)
    raw.zadd(keys.dead_letters(batch_id), dict.fromkeys(ids[4:12], moment))
    found = [result.id for result in producer.failed(batch_id)]
    assert sorted(found) == sorted(ids)

    listing = producer.failed(batch_id)
    seen = [next(listing).id for _ in range(3)]
    for job_id in seen:
        producer.retry_job(job_id)
    assert sorted([*seen, *(result.id for result in listing)]) == sorted(ids)
    assert producer.retry(batch_id) == 14


def test_a_listing_may_be_left_early(producer: Producer, store: Store) -> None:
    """An iterator that is dropped halfway leaves no trace (warnings are errors)."""
    batch_id, ids = done_batch(producer, store, 3)
    assert next(iter(producer.failed(batch_id))).id == ids[0]


def test_what_fails_while_it_is_retried_waits_for_the_next_retry(
    producer: Producer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that fail as fast as they are put back do not hold a retry for ever."""
    monkeypatch.setattr(dead_letters, "PAGE", 2)
    batch_id, _ = done_batch(producer, store, 6)
    listing = producer.failed(batch_id)
    for result in listing:
        producer.retry_job(result.id)
        failed_again(store, result.id)
    assert producer.status(batch_id).revived == 6
    assert producer.retry(batch_id) == 6


def test_types_and_models_are_chosen(producer: Producer, store: Store) -> None:
    """One or several of each; a type or model that nobody failed with is no error."""
    store.do(fleet.put_catalog(catalog("other"), retention_s=RETENTION_S))
    batch_id = mixed_batch(producer, store)
    assert producer.retry(batch_id, error_type="poison") == 0
    assert producer.retry(batch_id, model="other") == 0
    assert producer.retry(batch_id, error_type=ErrorType.TIMEOUT, model="other") == 0
    assert producer.retry(batch_id, error_type=ErrorType.TIMEOUT, model=MODEL) == 3
    assert [result.error and result.error.type for result in producer.failed(batch_id)] == [
        ErrorType.SERVER_ERROR
    ] * 2
    kinds = [ErrorType.SERVER_ERROR, ErrorType.TIMEOUT]
    assert producer.retry(batch_id, error_type=kinds, model=["other", MODEL]) == 2


def catalog(*models: str) -> Catalog:
    """What workers publish."""
    card = {"tier": "pro", "price": {"input": 1, "output": 1}}
    return Catalog.model_validate(
        {"policy_version": "x", "tier_models": {}, "models": dict.fromkeys(models, card)}
    )


def test_an_unknown_type_or_model_lists_what_there_is(producer: Producer, store: Store) -> None:
    """Nothing is put back then."""
    batch_id = mixed_batch(producer, store)
    with pytest.raises(SettingsError, match=r"no error type 'timout'.*timeout 3, server_error 2"):
        producer.retry(batch_id, error_type=["timeout", "timout"])
    with pytest.raises(SettingsError, match=f"no model 'gpt'.*by model {MODEL} 5"):
        producer.retry(batch_id, model=[MODEL, "gpt"])
    empty = producer.submit_batch([])
    with pytest.raises(SettingsError, match="by type none; by model none"):
        producer.retry(empty, error_type="x")
    assert producer.status(batch_id).revived == 0


def test_a_reader_sees_each_job_as_it_ended_last(producer: Producer, store: Store) -> None:
    """Results hold it once; a follow that goes on from its cursor gets just what is new."""
    batch_id, ids = done_batch(producer, store, 3)
    follower = producer.follow(batch_id)
    assert [result.id for result in follower] == ids
    producer.retry(batch_id)
    claim, token = claimed(store, ids[1])
    assert claim.verdict == "run"
    assert recorded(store, ids[1], token)
    assert [(result.id, result.ok) for result in producer.results(batch_id)] == [(ids[1], True)]
    for job_id in (ids[0], ids[2]):
        failed_again(store, job_id)
    assert producer.status(batch_id).state is BatchState.DONE
    again = producer.follow(batch_id, cursor=follower.cursor)
    assert [result.id for result in again] == [ids[1], ids[0], ids[2]]
    assert sorted(stream(store, batch_id)) == sorted(ids)


def test_a_waiter_waits_for_the_new_end(producer: Producer, store: Store) -> None:
    """After a retry, the job's result is the one that is to come."""
    job_id = failed(store)
    assert producer.result(job_id, timeout=0).status is JobState.FAILED
    producer.retry_job(job_id)
    _, token = claimed(store, job_id)
    recorded(store, job_id, token)
    assert producer.result(job_id, timeout=0).ok


def test_a_cancelled_retry_is_cancelled(producer: Producer, store: Store) -> None:
    """A job put back is a queued job like any other."""
    batch_id, ids = done_batch(producer, store, 2)
    producer.retry(batch_id)
    assert producer.cancel(batch_id) == 2
    assert producer.retry(batch_id) == 0
    assert producer.status(batch_id).counts[JobState.CANCELLED] == 2
    assert sorted(stream(store, batch_id)) == sorted(ids)


def test_a_full_redis_takes_no_retry(
    producer: Producer, store: Store, raw: redis.Redis, request: pytest.FixtureRequest
) -> None:
    """It is new work: refused as a submit is, and the jobs stay where they are."""
    batch_id, _ = done_batch(producer, store, 2)
    request.addfinalizer(lambda: raw.config_set("maxmemory", 0))
    raw.config_set("maxmemory", 1_000_000)
    with pytest.raises(StoreError, match="maxmemory"):
        producer.retry(batch_id)
    raw.config_set("maxmemory", 0)
    assert producer.retry(batch_id) == 2


def test_the_awaiting_face_works_the_same(redis_url: str, producer: Producer, store: Store) -> None:
    """List, retry by type, retry one: awaited."""
    batch_id = mixed_batch(producer, store)
    single = failed(store)

    async def scenario() -> None:
        async with AsyncProducer(redis_url) as yard:
            assert len([result async for result in yard.failed()]) == 6
            assert len([result async for result in yard.failed(batch_id)]) == 5
            assert await yard.retry(batch_id, error_type="timeout") == 3
            assert await yard.retry_job(single)
            assert len([result async for result in yard.failed()]) == 2

    asyncio.run(scenario())
