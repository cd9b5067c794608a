"""Lost messages are found, and what a whole queue has in it is left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import redis

from promptyard.job import Decision, Job
from promptyard.names import CLASSIFY_QUEUE, QUEUES, Tier
from promptyard.store import AsyncStore, Store, jobs, keys, messages, parking, running, taking
from promptyard.store.parking import Parked
from promptyard.store.running import Release
from promptyard_worker.chunks import ChunkReaper
from promptyard_worker.observe.observer import Observer
from promptyard_worker.reconciler import LIMIT, Reconciler

T = TypeVar("T")

RETENTION_S = 3600.0
PATIENCE_S = 20.0
#: Looks are told that it is so much later, instead of waiting for it.
LATER_S = 100.0
MODEL = "gemini-2.5-flash-lite"
DECISION = Decision(stage="default", tier=Tier.LITE, model=MODEL, policy_version="v")
LITE = keys.queue("lite", 5)
CLASSIFY = keys.queue(CLASSIFY_QUEUE, 5)


class Yard:
    """A queue, and a look at it."""

    def __init__(self, url: str, store: Store, raw: redis.Redis) -> None:
        self.url = url
        self.store = store
        self.raw = raw

    def on_loop(self, step: Callable[[Reconciler], Awaitable[T]]) -> T:
        """Do something with a reconciler."""

        async def run() -> T:
            store = AsyncStore(self.url)
            chunks = ChunkReaper(
                store,
                max_worker_lost=lambda model: 1,
                retention_s=RETENTION_S,
                observer=Observer(),
            )
            try:
                return await step(Reconciler(store, patience_s=PATIENCE_S, chunks=chunks))
            finally:
                await store.close()

        return asyncio.run(run())

    def look(self, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Look twice, later; gives what the second look sent."""
        now_s = self.store.do(jobs.time_s()) + LATER_S

        async def looks(reconciler: Reconciler) -> int:
            assert await reconciler.look(now_s) == 0
            meanwhile()
            return await reconciler.look(now_s + PATIENCE_S)

        return self.on_loop(looks)

    def submit(self, count: int, tier: Tier | None = None) -> list[str]:
        """Jobs that wait, each since its own moment if they name a tier."""
        chunks = [[Job(contents=str(n), tier=tier)] for n in range(count)]
        if tier is None:
            chunks = [[job for (job,) in chunks]]
        calls = [jobs.submit(one, batch_id=None, retention_s=RETENTION_S) for one in chunks]
        return [receipt.job_id for found in self.store.do_many(calls) for receipt in found]

    def claim(self, job_id: str) -> None:
        """Take a lease."""
        call = running.claim(job_id, "t", lease_s=60, retention_s=RETENTION_S)
        assert self.store.do(call).verdict == "run"

    def sent(self, key: str) -> list[str | None]:
        """First jobs of a queue's messages, the next one first."""
        found: list[Any] = self.raw.lrange(key, 0, -1)
        return [messages.first_job(message) for message in reversed(found)]

    def commands(self) -> dict[str, int]:
        """How often each command was called."""
        stats: dict[str, Any] = self.raw.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()}


@pytest.fixture
def yard(redis_url: str, store: Store, raw: redis.Redis) -> Yard:
    """An empty yard."""
    return Yard(redis_url, store, raw)


@pytest.mark.parametrize("tier", [Tier.LITE, None])
def test_a_long_healthy_queue_costs_a_few_commands(yard: Yard, tier: Tier | None) -> None:
    """Whatever waits in it, and however long it has."""
    yard.submit(60, tier)
    yard.raw.config_resetstat()
    assert yard.look() == 0
    places = 10 * len(QUEUES)
    counts = {name: calls // 2 for name, calls in yard.commands().items()}  # it looked twice
    assert counts["lindex"] == places
    assert counts["zmscore"] == 1
    assert counts["zrangebyscore"] == places + 1, "and one for chunks in hand"
    assert not counts.keys() & {"lrange", "evalsha", "zrange"}


@pytest.mark.parametrize("lost", [1, 5])
def test_lost_messages_are_sent_again(yard: Yard, lost: int) -> None:
    """From the front of a queue; the others stay as they are."""
    ids = yard.submit(20, Tier.LITE)
    yard.raw.rpop(LITE, lost)
    assert yard.look() == lost
    assert yard.sent(LITE) == ids[lost:] + ids[:lost]
    assert yard.look() == 0, "they wait anew"


def test_an_emptied_queue_is_sent_again(yard: Yard) -> None:
    """A message a job for a tier, one a chunk for classify; so many in one look."""
    yard.submit(LIMIT + 1, Tier.LITE)
    ids = yard.submit(70)
    yard.raw.delete(LITE, CLASSIFY)
    assert yard.look() == LIMIT + len(ids)
    assert yard.raw.llen(LITE) == LIMIT
    assert yard.raw.llen(CLASSIFY) == 2


def test_nothing_is_lost_before_patience_is_over(yard: Yard) -> None:
    """A worker may have the message still; once that is over, two looks are enough."""
    yard.submit(3, Tier.LITE)
    yard.raw.delete(LITE)
    now_s = yard.store.do(jobs.time_s())

    async def looks(reconciler: Reconciler) -> list[int]:
        return [await reconciler.look(now_s + n * PATIENCE_S / 4) for n in range(6)]

    assert yard.on_loop(looks) == [0, 0, 0, 0, 3, 0]


def test_a_retry_at_the_front_accuses_nobody(yard: Yard) -> None:
    """It stands in the queue since it was sent, but waits from when it is due."""
    ids = yard.submit(5, Tier.LITE)
    yard.claim(ids[0])
    to = Release(tier=Tier.LITE, model=MODEL, delay_s=50.0)
    assert yard.store.do(running.release(ids[0], "t", to, priority=5))
    assert yard.look() == 0
    yard.raw.rpop(LITE, 2)  # its message, and the next one's
    assert yard.look() == 1
    assert yard.sent(LITE) == [*ids[2:], ids[1]]


def test_a_message_that_was_just_taken_is_not_lost(yard: Yard) -> None:
    """Its job is missed in one look, and claimed before the next; another's is missed in both."""
    first, second, *others = yard.submit(5, Tier.LITE)
    yard.raw.rpop(LITE, 2)
    assert yard.look(lambda: yard.claim(first)) == 1
    assert yard.sent(LITE) == [*others, second]


def test_parked_jobs_wait_for_no_message(yard: Yard) -> None:
    """They are not missed while parked, nor when they are sent on to a queue that is older."""
    ids = yard.submit(4, Tier.LITE)
    yard.claim(ids[0])
    yard.raw.rpop(LITE)
    place = parking.tier_place("lite")
    to = Release(tier=Tier.LITE, model=MODEL, place=place)
    assert yard.store.do(running.release(ids[0], "t", to, priority=5))
    assert yard.look() == 0
    assert yard.store.do(parking.unpark(place, [Parked(ids[0], "lite", 5)])) == 1
    assert yard.look() == 0
    assert yard.sent(LITE) == [*ids[1:], ids[0]]


def test_jobs_in_hand_wait_for_no_message(yard: Yard) -> None:
    """A lost chunk is put back job by job; who is alone with a second worker is poison."""
    ids = yard.submit(3)
    yard.raw.delete(CLASSIFY)
    yard.store.do(taking.take(ids, "t", lease_s=1.0, alone=False))
    now_s = yard.store.do(jobs.time_s())
    assert yard.on_loop(lambda reconciler: reconciler.look(now_s)) == 0
    yard.raw.zadd(keys.TAKEN, dict.fromkeys(ids, now_s - 1.0))
    assert yard.on_loop(lambda reconciler: reconciler.look(now_s)) == 3
    assert sorted(map(str, yard.sent(CLASSIFY))) == sorted(ids)
    yard.store.do(taking.take(ids[:1], "u", lease_s=1.0, alone=True))
    yard.raw.zadd(keys.TAKEN, {ids[0]: now_s - 1.0})
    yard.on_loop(lambda reconciler: reconciler.look(now_s))
    assert yard.raw.hget(keys.job(ids[0]), "state") == b"failed"


def test_a_strangers_message_hides_nothing(yard: Yard) -> None:
    """What is no message of ours is passed over."""
    ids = yard.submit(2, Tier.LITE)
    yard.raw.delete(LITE)
    yard.raw.lpush(LITE, json.dumps({"body": "?"}))
    assert yard.look() == len(ids)
