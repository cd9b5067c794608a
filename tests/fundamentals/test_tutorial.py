"""Promptyard in nine lessons, each a test that runs on real workers.

Read it from the top. ``url`` is where Redis is; workers are running, as ``promptyard up``
would have started them, and the stand-in plays the model.
"""

from __future__ import annotations

import asyncio

import pytest

from promptyard import AsyncProducer, ErrorType, Job, JobState, Producer, ResultTimeout, Tier
from tests.conftest import wait_until
from tests.process.conftest import Yard

pytestmark = pytest.mark.process


@pytest.fixture
def url(yard: Yard) -> str:
    """Where Redis is."""
    return yard.url


def test_1_submit_and_wait(url: str) -> None:
    """A prompt goes in, an id comes back at once, and the result when it is there."""
    with Producer(url) as yard:
        job_id = yard.submit("Translate into French: Where is the nearest pharmacy?")
        result = yard.result(job_id, timeout=30)
    assert result.ok
    assert result.text
    assert result.tier is Tier.LITE, "an easy prompt goes to the cheapest tier"
    assert result.cost_usd > 0


def test_2_a_batch_is_followed(url: str) -> None:
    """Many prompts go in together; results come as they land, each once."""
    with Producer(url) as yard:
        batch = yard.submit_batch(f"Give me a synonym for word number {n}." for n in range(20))
        results = list(yard.follow(batch))
        assert len(results) == batch.submitted == 20
        assert yard.status(batch).counts[JobState.SUCCEEDED] == 20


def test_3_a_job_says_more_than_a_prompt(url: str) -> None:
    """Your own name for it, what it belongs to, what the answer must look like."""
    job = Job(
        contents="Is this spam? You have won a boat!",
        custom_id="mail-7",
        metadata={"customer": 42},
        response_schema={
            "type": "object",
            "properties": {"spam": {"type": "boolean"}},
            "required": ["spam"],
        },
    )
    with Producer(url) as yard:
        result = yard.result(yard.submit(job), timeout=30)
    assert (result.custom_id, result.metadata) == ("mail-7", {"customer": 42})
    assert isinstance(result.parsed["spam"], bool)


def test_4_following_goes_on_where_it_stopped(url: str) -> None:
    """A cursor remembers which results you have had, also over a restart of your program."""
    with Producer(url) as yard:
        batch = yard.submit_batch(f"Which country is {n} on the list?" for n in range(10))
        follower = yard.follow(batch)
        seen = [next(follower).id for _ in range(4)]
        cursor = follower.cursor
    with Producer(url) as yard:
        rest = [result.id for result in yard.follow(batch.id, cursor=cursor)]
    assert len(rest) == 6
    assert not set(seen) & set(rest)


def test_5_the_same_order_is_submitted_once(url: str) -> None:
    """With an idempotency key a repeated request is the same job, and is paid once."""
    with Producer(url) as yard:
        first = yard.submit(Job(contents="Sum up order 7.", idempotency_key="order-7"))
        again = yard.submit(Job(contents="Sum up order 7.", idempotency_key="order-7"))
        assert again == first
        assert yard.result(first, timeout=30).ok


def test_6_you_may_choose_the_tier(url: str) -> None:
    """A job that names its tier is not classified; its decision says who decided."""
    with Producer(url) as yard:
        result = yard.result(yard.submit(Job(contents="Hello!", tier=Tier.PRO)), timeout=30)
    assert result.tier is Tier.PRO
    assert result.decision is not None
    assert result.decision.stage == "explicit"


def test_7_errors_are_data(url: str) -> None:
    """A failed job is a result like any other: it raises nothing, and says what happened.

    ``[[sim: ...]]`` tells the stand-in what to play.
    """
    with Producer(url) as yard:
        batch = yard.submit_batch(["Good.", "Bad. [[sim: 400]]", "Shaky. [[sim: 503 x1]]"])
        results = {(result.status, len(result.attempts)): result for result in yard.follow(batch)}
    assert results[JobState.SUCCEEDED, 1].error is None
    failed = results[JobState.FAILED, 1]
    assert failed.error is not None
    assert failed.error.type is ErrorType.INVALID_REQUEST
    shaky = results[JobState.SUCCEEDED, 2]
    assert shaky.attempts[0].error is not None, "a retry that went well is on record too"


def test_8_what_is_not_wanted_any_more_is_cancelled(url: str, yard: Yard) -> None:
    """A call in flight goes on, but its answer is not recorded."""
    with Producer(url) as producer:
        batch = producer.submit_batch(
            [Job(contents=f"Take your time, {n}. [[sim: latency=1s]]") for n in range(5)]
        )
        with pytest.raises(ResultTimeout):
            producer.result(yard.job_ids(batch)[0], timeout=0)
        assert producer.cancel(batch) == 5
        assert {result.status for result in producer.follow(batch)} == {JobState.CANCELLED}
    wait_until(yard.is_idle, description="the workers are done with what they had begun")


def test_9_the_same_on_an_event_loop(url: str) -> None:
    """AsyncProducer is Producer, awaited."""

    async def ask() -> list[str | None]:
        async with AsyncProducer(url) as yard:
            batch = await yard.submit_batch(["Good morning!", "Good night!"])
            return [result.text async for result in yard.follow(batch)]

    assert all(asyncio.run(ask()))
