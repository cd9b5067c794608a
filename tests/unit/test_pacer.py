"""The line of one model in one process: order, waits, wake-ups, stopping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from promptyard.errors import StoreError
from promptyard.store.quota import Ask, Reply, Verdict
from promptyard_worker.quota import pacer
from promptyard_worker.quota.pacer import GROUP, Pacer, Stopped

GO = Reply(Verdict.GO, ticket="now")
FULL = Reply(Verdict.FULL)
Rule = Callable[[Sequence[str]], list[Reply]]


class Desk:
    """Answers questions by a rule, as the store would, and keeps what it was asked."""

    def __init__(self, rule: Rule | None = None) -> None:
        self.rule = rule or (lambda names: [GO] * len(names))
        self.questions: list[list[str]] = []
        self.asked_at_s: list[float] = []
        self.taken_back: list[str] = []
        #: While it is not set, no question is answered.
        self.answers = asyncio.Event()
        self.answers.set()
        self.pacer = Pacer(self._ask, self._void)

    async def _ask(self, asks: Sequence[Ask]) -> list[Reply]:
        self.questions.append([ask.job_id for ask in asks])
        self.asked_at_s.append(time.monotonic())
        await self.answers.wait()
        return self.rule(self.questions[-1])

    async def _void(self, ask: Ask) -> None:
        self.taken_back.append(f"{ask.job_id}:{ask.ticket}")

    def admit(self, name: str) -> asyncio.Task[Reply]:
        """A job comes to the line."""
        return asyncio.create_task(self.pacer.admit(Ask(name, "token", 1, 0.0)))


def first_then(first: list[Reply] | Exception) -> Rule:
    """The first question is answered so, all others with GO."""
    replies = [first]

    def rule(names: Sequence[str]) -> list[Reply]:
        if not replies:
            return [GO] * len(names)
        reply = replies.pop()
        if isinstance(reply, Exception):
            raise reply
        return reply

    return rule


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario; a line that stands still fails it."""

    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


async def until(predicate: Callable[[], object]) -> None:
    """Let the loop go on until the predicate holds."""
    while not predicate():  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0)


def test_a_group_shares_a_question() -> None:
    """In the order in which they came, no more than GROUP at once; each gets its own reply."""

    def rule(names: Sequence[str]) -> list[Reply]:
        return [Reply(Verdict.GO, ticket=name) for name in names]

    async def scenario() -> None:
        desk = Desk(rule)
        names = [str(n) for n in range(GROUP + 5)]
        replies = await asyncio.gather(*map(desk.admit, names))
        assert [reply.ticket for reply in replies] == names
        assert desk.questions == [names[:GROUP], names[GROUP:]]

    run(scenario)


def test_the_first_waits_and_all_stand_behind_it() -> None:
    """It asks again when its time has come, first, with those that came meanwhile behind it."""
    later = Reply(Verdict.AT, ticket="later", wait_s=0.05)

    async def scenario() -> None:
        desk = Desk(first_then([GO, later]))
        early = [desk.admit(name) for name in "abc"]
        await until(lambda: early[0].done())
        late = desk.admit("d")
        assert await asyncio.gather(*early, late) == [GO] * 4
        assert desk.questions == [["a", "b", "c"], ["b", "c", "d"]]
        assert desk.asked_at_s[1] - desk.asked_at_s[0] >= 0.049

    run(scenario)


def test_a_refusal_does_not_hold_up_the_line() -> None:
    """Each verdict that is final goes to its own job; the next is served."""
    gone, paused = Reply(Verdict.GONE), Reply(Verdict.PAUSED, detail="tier:lite")

    async def scenario() -> None:
        desk = Desk(first_then([gone, paused, GO]))
        assert await asyncio.gather(*map(desk.admit, "abc")) == [gone, paused, GO]
        assert await desk.admit("d") == GO, "a line that has run empty begins anew"

    run(scenario)


def test_a_wake_up_asks_again_at_once() -> None:
    """Who waits for a slot does not look by itself for seconds."""

    async def scenario() -> None:
        desk = Desk(first_then([FULL]))
        waits = desk.admit("a")
        await until(lambda: desk.questions)
        assert not waits.done()
        desk.pacer.wake()
        assert await waits == GO
        assert desk.asked_at_s[1] - desk.asked_at_s[0] < 1

    run(scenario)


def test_without_a_wake_up_it_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake-up can be lost; one that came before the wait is not."""
    monkeypatch.setattr(pacer, "LOOK_AGAIN_S", 0.05)

    async def scenario() -> None:
        desk = Desk(first_then([FULL]))
        assert await desk.admit("a") == GO
        assert 0.049 <= desk.asked_at_s[1] - desk.asked_at_s[0] < 1

    run(scenario)


def test_a_store_that_is_away_holds_up_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is let through, nobody fails; the same question is put again."""
    monkeypatch.setattr(pacer, "STORE_RETRY_S", 0.01)

    async def scenario() -> None:
        desk = Desk(first_then(StoreError("Redis is away.")))
        assert await asyncio.gather(*map(desk.admit, "ab")) == [GO, GO]
        assert desk.questions == [["a", "b"]] * 2

    run(scenario)


def test_a_line_that_breaks_fails_whom_it_holds(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours does not leave jobs waiting for ever; the next ones start a new line."""

    async def scenario() -> None:
        desk = Desk(first_then(ValueError("a fault")))
        found = await asyncio.gather(*map(desk.admit, "ab"), return_exceptions=True)
        assert [type(one) for one in found] == [ValueError, ValueError]
        assert await desk.admit("c") == GO

    run(scenario)
    assert "broke" in caplog.text


def test_a_cancelled_job_gives_its_grant_back() -> None:
    """And those behind it go on."""

    async def scenario() -> None:
        desk = Desk()
        desk.answers.clear()
        gone, stays = desk.admit("a"), desk.admit("b")
        await until(lambda: desk.questions)
        gone.cancel()
        await asyncio.sleep(0)
        desk.answers.set()
        assert await stays == GO
        assert desk.taken_back == ["a:now"]

    run(scenario)


def test_stopping_takes_back_a_grant_for_later() -> None:
    """At once, however long it would have waited; all who wait are told."""

    async def scenario() -> None:
        desk = Desk(first_then([Reply(Verdict.AT, ticket="later", wait_s=60)]))
        waits = [desk.admit(name) for name in "ab"]
        await until(lambda: desk.questions)
        await desk.pacer.stop()
        found = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(one) for one in found] == [Stopped, Stopped]
        assert desk.taken_back == ["a:later"]
        with pytest.raises(Stopped):
            await desk.admit("c")

    run(scenario)


def test_stopping_takes_back_what_a_question_in_flight_was_granted() -> None:
    """The store has counted it already; its reply is waited for."""

    async def scenario() -> None:
        desk = Desk()
        desk.answers.clear()
        waits = [desk.admit(name) for name in "ab"]
        await until(lambda: desk.questions)
        stopping = asyncio.create_task(desk.pacer.stop())
        await asyncio.sleep(0)
        desk.answers.set()
        await stopping
        found = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(one) for one in found] == [Stopped, Stopped]
        assert sorted(desk.taken_back) == ["a:now", "b:now"]

    run(scenario)


def test_stopping_does_not_wait_for_a_dead_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is never answered is cut off."""
    monkeypatch.setattr(pacer, "STOP_S", 0.01)

    async def scenario() -> None:
        desk = Desk()
        desk.answers.clear()
        waits = desk.admit("a")
        await until(lambda: desk.questions)
        await desk.pacer.stop()
        with pytest.raises(Stopped):
            await waits
        assert desk.taken_back == []

    run(scenario)


def test_stopping_ends_a_wait_for_a_slot() -> None:
    """At once; it had nothing, so nothing is taken back."""

    async def scenario() -> None:
        desk = Desk(first_then([FULL]))
        waits = desk.admit("a")
        await until(lambda: desk.questions)
        async with asyncio.timeout(1):
            await desk.pacer.stop()
        with pytest.raises(Stopped):
            await waits
        assert desk.taken_back == []

    run(scenario)


def test_who_is_held_up_is_counted() -> None:
    """All in line, once the first has waited for quota; not while the store is away."""

    async def scenario() -> None:
        desk = Desk(lambda names: [Reply(Verdict.AT, ticket="later", wait_s=60.0)])
        jobs = [desk.admit(str(n)) for n in range(5)]
        await until(lambda: desk.pacer.held_up(for_s=0.0))
        assert desk.pacer.held_up(for_s=0.0) == 5
        assert desk.pacer.held_up(for_s=60.0) == 0
        await desk.pacer.stop()
        await asyncio.gather(*jobs, return_exceptions=True)
        away = Desk(first_then(StoreError("gone")))
        job = away.admit("a")
        await until(lambda: away.questions)
        assert away.pacer.held_up(for_s=0.0) == 0
        job.cancel()

    run(scenario)


def test_the_last_of_the_line_are_shed() -> None:
    """As many as asked, never the first; those that stay keep their order and get their turn."""

    async def scenario() -> None:
        desk = Desk(first_then([FULL]))
        jobs = [desk.admit(str(n)) for n in range(5)]
        await until(lambda: desk.pacer.held_up(for_s=0.0) == 5)
        assert desk.pacer.shed(2) == 2
        for job in jobs[3:]:
            with pytest.raises(Stopped):
                await job
        assert desk.pacer.shed(9) == 2
        desk.pacer.wake()
        assert await jobs[0] == GO
        assert desk.questions[-1] == ["0"]

    run(scenario)


def test_nobody_is_shed_while_a_question_is_in_flight() -> None:
    """Its replies go by places in line."""

    async def scenario() -> None:
        desk = Desk()
        desk.answers.clear()
        jobs = [desk.admit(str(n)) for n in range(3)]
        await until(lambda: desk.questions)
        assert desk.pacer.shed(2) == 0
        desk.answers.set()
        assert await asyncio.gather(*jobs) == [GO] * 3

    run(scenario)
