"""Producer and AsyncProducer against a real Valkey; a hand in the test plays the workers."""

from __future__ import annotations

import asyncio
import inspect
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
import redis

from promptyard.async_producer import AsyncProducer
from promptyard.batch import BatchState
from promptyard.core import Duplicate
from promptyard.errors import (
    BatchNotFound,
    JobNotFound,
    ResultTimeout,
    SettingsError,
    StoreError,
    SubmitError,
)
from promptyard.job import Job, JobState
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, batches, keys
from tests.integration.test_store import claimed, in_hand, recorded, routed


def finish(store: Store, job_id: str) -> None:
    """Take one job through the line."""
    routed(store, job_id)
    _, token = claimed(store, job_id)
    assert recorded(store, job_id, token)


def job_ids(store: Store, batch_id: str) -> list[str]:
    """All job ids of a batch."""
    return store.do(batches.batch_jobs(batch_id, 0, 100_000))


def test_the_faces_have_one_surface() -> None:
    """Each public method of one face is on the other, with the same parameters."""

    def surface(face: type) -> dict[str, list[str]]:
        return {
            name: [
                f"{parameter.name}:{parameter.kind}:{parameter.default}"
                for parameter in inspect.signature(member).parameters.values()
            ]
            for name, member in inspect.getmembers(face, inspect.isfunction)
            if not name.startswith("_")
        }

    assert surface(Producer) == surface(AsyncProducer)


def test_a_batch_of_strings_and_jobs(producer: Producer, store: Store) -> None:
    """Strings and Jobs go in together, keep their order, and the batch knows its total."""
    batch = producer.submit_batch(["one", Job(contents="two", custom_id="second")])
    assert (batch.submitted, batch.existing) == (2, 0)
    assert len(job_ids(store, batch.id)) == 2
    status = producer.status(batch)
    assert (status.state, status.total, status.open) == (BatchState.RUNNING, 2, 2)


def test_an_empty_batch_is_done(producer: Producer) -> None:
    """Nothing in, nothing out, and follow ends."""
    batch = producer.submit_batch([])
    assert producer.status(batch).state is BatchState.DONE
    assert list(producer.follow(batch)) == []


def test_submitting_the_same_jobs_again_completes_a_batch(producer: Producer) -> None:
    """A second submit of the same ids adds only what was missing."""
    jobs = [Job(id=f"j{n}", contents=f"prompt {n}") for n in range(200)]
    batch = producer.submit_batch(jobs[:130], batch_id="mine")
    again = producer.submit_batch(jobs, batch_id="mine")
    assert (again.submitted, again.existing) == (70, 130)
    assert producer.status(batch).total == 200


def test_a_repeated_id_under_another_line_is_told(producer: Producer) -> None:
    """on_duplicate hears of a job that clashes, not of one submitted again."""
    told: list[tuple[int | None, int | None]] = []
    jobs = [Job(id="a", contents="x", line=1), Job(id="a", contents="y", line=7)]

    def tell(duplicate: Duplicate) -> None:
        assert not duplicate.by_key
        told.append((duplicate.job.line, duplicate.line))

    producer.submit_batch(jobs, batch_id="b", on_duplicate=tell)
    assert told == [(7, 1)]
    producer.submit_batch(jobs[:1], batch_id="b", on_duplicate=tell)
    assert told == [(7, 1)]


def test_priorities_do_not_disturb_the_order_of_what_is_told(
    producer: Producer, raw: redis.Redis
) -> None:
    """Chunks go by priority, one message each; duplicates are told in the order of the input."""
    lines = [
        Job(id=f"j{n % 90}", contents=f"prompt {n}", line=n + 1, priority=(9 - n) % 3)
        for n in range(100)
    ]
    told: list[int | None] = []
    batch = producer.submit_batch(
        lines, on_duplicate=lambda duplicate: told.append(duplicate.job.line)
    )
    assert (batch.submitted, batch.existing) == (90, 10)
    assert told == sorted(told, key=lambda line: line or 0)
    assert len(told) == 10
    assert [raw.llen(keys.queue("classify", level)) for level in range(3)] == [1, 1, 1]
    assert sum(raw.zcard(keys.waiting("classify", level)) for level in range(3)) == 90


def test_a_shared_idempotency_key_is_told_with_its_holder(producer: Producer) -> None:
    """A job of another batch with the same key is named, so that its result can be used."""
    first = producer.submit(Job(contents="x", idempotency_key="order-7"))
    told: list[Duplicate] = []
    again = Job(contents="x", idempotency_key="order-7", line=1)
    batch = producer.submit_batch([again], on_duplicate=told.append)
    assert (batch.submitted, batch.existing) == (0, 1)
    assert [(item.by_key, item.job_id) for item in told] == [(True, first)]


def test_follow_ends_with_the_batch_and_resumes_at_a_cursor(
    producer: Producer, store: Store
) -> None:
    """Results come once each; a second follow from the cursor gives just the rest."""
    batch = producer.submit_batch([f"prompt {n}" for n in range(10)])
    ids = job_ids(store, batch.id)
    for job_id in ids[:4]:
        finish(store, job_id)
    follower = producer.follow(batch)
    first = [next(follower).id for _ in range(3)]
    rest_in_background = threading.Thread(target=lambda: [finish(store, i) for i in ids[4:]])
    rest_in_background.start()
    rest = [result.id for result in producer.follow(batch, cursor=follower.cursor)]
    rest_in_background.join()
    assert first + rest == ids


def test_results_does_not_wait(producer: Producer, store: Store) -> None:
    """results gives what has ended and returns."""
    batch = producer.submit_batch(["a", "b"])
    finish(store, job_ids(store, batch.id)[1])
    assert [result.text for result in producer.results(batch)] == ["spam"]


def test_a_run_of_the_same_identity_is_continued(producer: Producer) -> None:
    """An identity gives its batch again; fresh starts over and is remembered."""
    first = producer.open_batch(identity="file-hash", metadata={"file": "in.jsonl"})
    assert producer.open_batch(identity="file-hash") == first
    fresh = producer.open_batch(identity="file-hash", fresh=True)
    assert fresh != first
    assert producer.open_batch(identity="file-hash") == fresh
    assert producer.status(first).metadata == {"file": "in.jsonl"}
    assert {status.id for status in producer.batches()} == {first, fresh}


def test_result_wakes_up_when_the_job_ends(producer: Producer, store: Store) -> None:
    """A waiter gets the result of a job that ends while it waits."""
    job_id, token = in_hand(store)
    ender = threading.Timer(0.05, lambda: recorded(store, job_id, token))
    ender.start()
    assert producer.result(job_id, timeout=10).text == "spam"
    ender.join()


def test_errors_say_what_to_do(producer: Producer, store: Store) -> None:
    """Unknown ids, impatience and a Redis that is away each raise their own error."""
    with pytest.raises(JobNotFound, match="nobody"):
        producer.result("nobody", timeout=0)
    with pytest.raises(BatchNotFound, match="promptyard status"):
        producer.status("nothing")
    job_id, _ = in_hand(store)
    with pytest.raises(ResultTimeout, match="running"):
        producer.result(job_id, timeout=0)
    with pytest.raises(SettingsError, match="REDIS_URL"):
        Producer(settings=Settings())
    with Producer("redis://user:secret@127.0.0.1:1/0") as away:
        with pytest.raises(StoreError, match="REDIS_URL") as caught:
            away.submit("x")
        assert "secret" not in str(caught.value)


def test_a_full_redis_loses_nothing_that_is_in(
    producer: Producer, raw: redis.Redis, request: pytest.FixtureRequest
) -> None:
    """A submit that hits maxmemory says how many are in; doing it again completes it."""
    request.addfinalizer(lambda: raw.config_set("maxmemory", 0))
    raw.config_set("maxmemory", int(raw.info("memory")["used_memory"]) + 3_000_000)
    jobs = [Job(id=f"j{n}", contents=f"{n} " + "x" * 900) for n in range(4000)]
    with pytest.raises(SubmitError, match="maxmemory") as caught:
        producer.submit_batch(jobs, batch_id="b")
    assert 0 < caught.value.submitted < 4000
    raw.config_set("maxmemory", 0)
    producer.submit_batch(jobs, batch_id="b")
    assert producer.status("b").total == 4000


def test_submitting_streams(producer: Producer) -> None:
    """Memory while submitting does not grow with the iterable."""

    def prompts(count: int) -> Iterator[str]:
        for n in range(count):
            yield f"prompt {n} " + "x" * 500

    def peak(count: int) -> int:
        tracemalloc.start()
        producer.submit_batch(prompts(count))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(600)  # loads what is loaded once
    assert peak(6000) < 1.5 * peak(1200)


def test_cancelling_ends_a_whole_batch(producer: Producer) -> None:
    """Every queued job of a batch of several thousand is cancelled, each once."""
    batch = producer.submit_batch(f"prompt {n}" for n in range(3000))
    assert producer.cancel(batch) == 3000
    status = producer.status(batch)
    assert status.state is BatchState.DONE
    assert status.counts[JobState.CANCELLED] == 3000
    assert sum(1 for _ in producer.follow(batch)) == 3000


def test_redeliver_announces_what_waits(producer: Producer, store: Store, raw: redis.Redis) -> None:
    """After a flushed broker, waiting jobs get messages again and ended ones do not."""
    batch = producer.submit_batch([f"prompt {n}" for n in range(5)])
    ids = job_ids(store, batch.id)
    finish(store, ids[0])
    routed(store, ids[1])
    raw.delete(keys.queue("classify", 5), keys.queue("lite", 5))
    assert producer.redeliver(batch) == 4
    assert (raw.llen(keys.queue("classify", 5)), raw.llen(keys.queue("lite", 5))) == (1, 1)


def test_the_awaiting_face_works_the_same(redis_url: str, store: Store) -> None:
    """Submit, follow, wait and cancel, awaited, with an asynchronous source."""

    async def scenario() -> None:
        async def source():  # type: ignore[no-untyped-def]
            for n in range(3):
                yield f"prompt {n}"

        async with AsyncProducer(redis_url) as yard:
            batch = await yard.submit_batch(source())
            for job_id in job_ids(store, batch.id):
                await asyncio.to_thread(finish, store, job_id)
            assert len([result async for result in yard.follow(batch)]) == 3
            assert len([result async for result in yard.results(batch)]) == 3
            single = await yard.submit("one more")
            waiter = asyncio.create_task(yard.result(single, timeout=10))
            await asyncio.to_thread(finish, store, single)
            assert (await waiter).text == "spam"
            with pytest.raises(ResultTimeout):
                await yard.result(await yard.submit("never"), timeout=0.01)
            other = await yard.submit_batch(["a", "b"])
            assert await yard.cancel(other) == 2

    asyncio.run(scenario())
