"""Concurrency slots: never more than allowed, handed over in order, back from the dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis

from promptyard.store import AsyncStore, Store, jobs, keys, quota
from promptyard.store.quota import Ask, Reply, Settlement, Verdict
from promptyard_worker.clock import Clock
from promptyard_worker.quota import pacer
from promptyard_worker.quota.limiter import Limiter
from promptyard_worker.quota.pacer import Pacer, Stopped
from promptyard_worker.routing import ModelConfig
from tests.conftest import wait_until
from tests.integration.quota_line import MODEL, RETENTION_S, Line, limits

SLOTS = f"{keys.quota(MODEL)}:slots"
LINE = f"{keys.quota(MODEL)}:line"


def config(**of: int) -> ModelConfig:
    """The model, with these limits."""
    return ModelConfig.model_validate(
        {
            "tier": "lite",
            "price": {"input": 1, "output": 2},
            "context_window": 1000,
            "timeout_s": 5,
            "quota": of,
        }
    )


@asynccontextmanager
async def limiters(url: str, number: int) -> AsyncIterator[list[Limiter]]:
    """So many workers' limiters, each with its own connections."""
    async with AsyncExitStack() as closing:
        made = []
        for _ in range(number):
            face = AsyncStore(url)
            closing.push_async_callback(face.close)
            made.append(Limiter(face, clock=Clock(), lease_s=20, retention_s=RETENTION_S))
            closing.push_async_callback(made[-1].stop)
        yield made


def run(scenario: Callable[[], Awaitable[None]], *, within_s: float = 20) -> None:
    """Run a scenario; it fails if it takes longer than it may."""

    async def bounded() -> None:
        async with asyncio.timeout(within_s):
            await scenario()

    asyncio.run(bounded())


def test_processes_together_never_hold_more(redis_url: str, store: Store) -> None:
    """Four processes, 200 calls, three slots; they are handed over at once, not at a next look."""
    asks = Line(store, limits()).new_asks([1] * 200)
    model = config(max_concurrency=3)
    in_flight: set[str] = set()
    most = 0

    async def scenario() -> None:
        face = AsyncStore(redis_url)
        async with limiters(redis_url, 4) as workers:
            await asyncio.gather(*(call(face, workers[n % 4], asks[n]) for n in range(200)))
        await face.close()

    async def call(face: AsyncStore, worker: Limiter, ask: Ask) -> None:
        nonlocal most
        reply = await worker.admit(MODEL, model, ask)
        in_flight.add(ask.job_id)
        most = max(most, len(in_flight))
        await face.do(jobs.time_s())  # the call
        in_flight.discard(ask.job_id)
        await face.do_many(worker.settle(MODEL, model, ask.job_id, reply.ticket, None))

    run(scenario)
    assert most == 3
    assert store.redis.zcard(SLOTS) == 0


def test_a_slot_goes_to_who_waits_longest(store: Store) -> None:
    """Free slots are handed out in the order in which the processes came, not to who asks next."""
    line = Line(store, limits(max_concurrency=1))
    first, granted = line.one(process="a")
    waiting = {name: line.one(process=name) for name in "bcd"}
    assert {reply.verdict for _, reply in waiting.values()} == {Verdict.FULL}
    assert line.ask(waiting["b"][0], process="b")[0].verdict is Verdict.FULL, "keeps its place"
    for name in "bcd":
        line.settle(first, granted)
        assert line.one(process="late")[1].verdict is Verdict.FULL
        assert store.do(quota.woken(name, timeout_s=1)) == MODEL
        first, granted = waiting[name][0], line.ask(waiting[name][0], process=name)[0]
        assert granted.verdict is Verdict.GO


def test_a_dead_holders_slot_comes_back(store: Store, raw: redis.Redis) -> None:
    """After its lease it goes to who waited; a call in flight whose slot is renewed keeps it."""
    line = Line(store, limits(max_concurrency=2), lease_s=0.2)
    dead, _ = line.one(process="dead")
    living, _ = line.one(process="living")
    store.do(quota.renew_slots(MODEL, [living.job_id], line.now_s() + 60))
    waits, full = line.one(process="waits")
    assert full.verdict is Verdict.FULL
    lapse = raw.zscore(SLOTS, dead.job_id)
    assert lapse is not None
    wait_until(lambda: line.now_s() > lapse, description="the lease has run out")
    assert line.one(process="late")[1].verdict is Verdict.FULL, "it is for who waits"
    assert line.ask(waits, process="waits")[0].verdict is Verdict.GO
    held = set(raw.zrange(SLOTS, 0, -1))
    assert held == {living.job_id.encode(), waits.job_id.encode()}
    store.do(quota.renew_slots(MODEL, [dead.job_id], line.now_s() + 60))
    assert raw.zcard(SLOTS) == 2, "a renewal does not bring it back"


def test_a_dead_waiter_does_not_block_the_line(store: Store, raw: redis.Redis) -> None:
    """What was handed to it is void after a few seconds; then the next has its turn."""
    line = Line(store, limits(max_concurrency=1))
    first, granted = line.one(process="a")
    line.one(process="dead")
    waits, _ = line.one(process="waits")
    line.settle(first, granted)
    assert line.ask(waits, process="waits")[0].verdict is Verdict.FULL
    until_s = raw.zscore(SLOTS, "hand:dead")
    assert until_s is not None
    assert until_s - line.now_s() < 6
    raw.zadd(SLOTS, {"hand:dead": line.now_s()})  # those seconds have passed
    assert line.ask(waits, process="waits")[0].verdict is Verdict.GO


def test_what_is_handed_over_and_not_wanted_goes_on(store: Store) -> None:
    """The job it was for has been cancelled: the next in the line is woken in the same step."""
    line = Line(store, limits(max_concurrency=1))
    first, granted = line.one(process="a")
    gone, _ = line.one(process="b")
    line.one(process="c")
    line.settle(first, granted)
    store.do(jobs.cancel([gone.job_id], keep_running=False, retention_s=RETENTION_S))
    assert line.ask(gone, process="b")[0].verdict is Verdict.GONE
    assert store.do(quota.woken("c", timeout_s=1)) == MODEL


def test_a_process_that_leaves_passes_on_what_it_was_handed(store: Store) -> None:
    """It stops before it has taken it up."""
    line = Line(store, limits(max_concurrency=1))
    first, granted = line.one(process="a")
    line.one(process="b")
    line.one(process="c")
    line.settle(first, granted)
    store.do_many(quota.leave(line.limits, "b"))
    assert store.do(quota.woken("c", timeout_s=1)) == MODEL


def test_a_grant_for_later_holds_its_slot_until_then(store: Store, raw: redis.Redis) -> None:
    """The lease of the slot begins with the call, and again with the look before it."""
    line = Line(store, limits(rpm=1, max_concurrency=2), lease_s=5)
    line.one()
    ask, later = line.one()
    assert later.verdict is Verdict.AT
    lapse_s = (raw.zscore(SLOTS, ask.job_id) or 0) - line.now_s()
    assert lapse_s == pytest.approx(later.wait_s + 5, abs=0.5)
    raw.zadd(SLOTS, {ask.job_id: 1})
    line.ask(ask)
    assert (raw.zscore(SLOTS, ask.job_id) or 0) > line.now_s() + 5


def test_a_lost_wake_up_is_survived(
    redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens; who waits looks again by itself."""
    monkeypatch.setattr(pacer, "LOOK_AGAIN_S", 0.05)
    line = Line(store, limits(max_concurrency=1))
    first, granted = line.one()
    (ask,) = line.new_asks()

    async def scenario() -> None:
        face = AsyncStore(redis_url)

        async def void(_: Ask) -> None:
            """Nothing is taken back here."""

        deaf = Pacer(lambda asks: face.do(line.question(asks, "deaf")), void)
        waiting = asyncio.create_task(deaf.admit(ask))
        await until(lambda: store.redis.zcard(LINE))
        done = quota.settle(line.limits, [Settlement(first.job_id, granted.ticket)])
        await face.do(done)
        assert (await waiting).verdict is Verdict.GO
        await face.close()

    run(scenario)


def test_a_worker_that_stops_gives_back_what_it_has_not_used(
    redis_url: str, store: Store, raw: redis.Redis
) -> None:
    """Grants for later, their slots and its place in the line; calls in flight keep theirs."""
    asks = Line(store, limits()).new_asks([1] * 3)
    model = config(rpm=1, max_concurrency=2)

    async def scenario() -> None:
        async with limiters(redis_url, 2) as (stopping, other):
            reply = await stopping.admit(MODEL, model, asks[0])
            later = asyncio.create_task(stopping.admit(MODEL, model, asks[1]))
            await until(lambda: raw.zcard(SLOTS) == 2)
            queues = asyncio.create_task(other.admit(MODEL, model, asks[2]))
            await until(lambda: raw.zcard(LINE) == 1)
            await other.stop()
            assert raw.zcard(LINE) == 0
            await stopping.stop()
            assert isinstance((await outcomes(later))[0], Stopped)
            assert isinstance((await outcomes(queues))[0], Stopped)
            with pytest.raises(Stopped):
                await stopping.admit(MODEL, model, asks[1])
            assert reply.verdict is Verdict.GO

    run(scenario)
    assert raw.zrange(SLOTS, 0, -1) == [asks[0].job_id.encode()]
    assert Line(store, limits()).use()["day_used"] == 1


async def until(predicate: Callable[[], object]) -> None:
    """Let the loop go on until the predicate holds."""
    while not predicate():  # noqa: ASYNC110 - the state of another server
        await asyncio.sleep(0)


async def outcomes(*tasks: asyncio.Task[Reply]) -> list[Reply | BaseException]:
    """What became of tasks."""
    return await asyncio.gather(*tasks, return_exceptions=True)
