"""The connection to Redis breaks while jobs are being submitted, in the middle of a window."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import pytest
import redis

from promptyard.async_producer import AsyncProducer
from promptyard.batch import Batch
from promptyard.errors import StoreError, StoreFull, SubmitError
from promptyard.job import Job
from promptyard.names import CLASSIFY_CHUNK
from promptyard.producer import Producer
from promptyard.store import keys
from promptyard.windows import WINDOW_JOBS
from tests.cable import Cable

#: Two windows and a half.
JOBS = WINDOW_JOBS * 5 // 2

Submit = Callable[[str, Sequence[Job]], Batch]


@pytest.fixture
def cable(redis_url: str) -> Iterator[Cable]:
    """A cable to the test's Redis."""
    with Cable(urlsplit(redis_url).port or 0) as made:
        yield made


def blocking(url: str, work: Sequence[Job]) -> Batch:
    """Submit by the blocking face."""
    with Producer(url) as face:
        return face.submit_batch(work, batch_id="b")


def awaiting(url: str, work: Sequence[Job]) -> Batch:
    """Submit by the awaiting face."""

    async def scenario() -> Batch:
        async with AsyncProducer(url) as face:
            return await face.submit_batch(work, batch_id="b")

    return asyncio.run(scenario())


both_faces = pytest.mark.parametrize("submit", [blocking, awaiting])


def through(cable: Cable) -> str:
    """Redis at the end of the cable."""
    return f"redis://127.0.0.1:{cable.port}/0"


def new_work() -> list[Job]:
    """Enough jobs for some windows."""
    return [Job(contents=f"prompt {n} " + "x" * 200, line=n + 1) for n in range(JOBS)]


def size_of_a_submit(cable: Cable) -> int:
    """Bytes that the whole of it sends (to a batch of its own)."""
    before = cable.sent
    with Producer(through(cable)) as face:
        face.submit_batch(new_work(), batch_id="measured")
    return cable.sent - before


def announced(raw: redis.Redis) -> Counter[str]:
    """How often each job is in a classify message."""
    envelopes = [json.loads(text) for text in raw.lrange(keys.queue("classify", 5), 0, -1)]
    bodies = [json.loads(base64.b64decode(envelope["body"])) for envelope in envelopes]
    return Counter(job_id for arguments, *_ in bodies for job_id in arguments[0])


def check_in_once(raw: redis.Redis, work: Sequence[Job]) -> None:
    """Each job has one record, one place in the batch, one message."""
    listed = Counter(raw.lrange(keys.batch_jobs("b"), 0, -1))
    assert listed == Counter(job.id.encode() for job in work)
    assert int(raw.hget(keys.batch("b"), "total") or 0) == len(work)
    assert raw.exists(*[keys.job(job.id) for job in work]) == len(work)
    assert announced(raw) == Counter(job.id for job in work)


@both_faces
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_short_break_is_ridden_out(
    submit: Submit, share: float, cable: Cable, raw: redis.Redis
) -> None:
    """The window is told again by itself; no job is in twice."""
    size = size_of_a_submit(cable)
    raw.flushdb()
    work = new_work()
    cable.cut_after(int(size * share), for_good=False)
    batch = submit(through(cable), work)
    assert cable.was_cut
    assert batch.submitted + batch.existing == len(work)
    assert batch.existing % CLASSIFY_CHUNK == 0
    assert batch.existing <= WINDOW_JOBS, "only those of one window were told twice"
    check_in_once(raw, work)


@both_faces
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_break_for_good_says_what_is_in(
    submit: Submit, share: float, cable: Cable, redis_url: str, raw: redis.Redis
) -> None:
    """The first jobs are in as it says; the same batch again completes it without doubles."""
    size = size_of_a_submit(cable)
    raw.flushdb()
    work = new_work()
    cable.cut_after(int(size * share), for_good=True)
    with pytest.raises(SubmitError) as caught:
        submit(through(cable), work)
    assert not isinstance(caught.value, StoreFull)
    told = caught.value.submitted
    assert told % WINDOW_JOBS == 0
    assert f"The first {told:,} jobs of batch b are in" in str(caught.value)
    assert raw.exists("-", *[keys.job(job.id) for job in work[:told]]) == told
    found = raw.exists(*[keys.job(job.id) for job in work])
    assert told <= found <= told + WINDOW_JOBS
    again = submit(redis_url, work)
    assert (again.submitted, again.existing) == (len(work) - found, found)
    check_in_once(raw, work)


@pytest.mark.parametrize("for_good", [False, True])
def test_a_single_job_is_in_once(
    for_good: bool, cable: Cable, producer: Producer, raw: redis.Redis
) -> None:
    """Its record is written, but the reply does not come: told again, it is the same job."""
    job = Job(contents="x")
    with Producer(through(cable)) as face:
        face.workers()  # connected
        cable.cut_after(1, for_good=for_good)
        if for_good:
            with pytest.raises(StoreError, match="Start Redis there"):
                face.submit(job)
        else:
            assert face.submit(job) == job.id
    assert producer.submit(job) == job.id
    assert announced(raw) == {job.id: 1}
