"""The line of one model in one process: who came first asks first, and one waits at a time.

Only the first of the line ever holds a grant for later. So a refund, a pause or a breaker that
opens counts for all who come behind it at once, and a process that dies takes one grant with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from promptyard.errors import StoreError
from promptyard.store.quota import Ask, Reply, Verdict

log = logging.getLogger(__name__)

#: Asks that share a round trip.
GROUP: Final = 64
#: Who comes first waits so long for company: a call takes a second, and a question costs as much
#: for one as for five.
GATHER_S: Final = 0.02
#: A wake-up can be lost with its connection, so who waits for a slot asks again this often.
LOOK_AGAIN_S: Final = 5.0
#: How long the line waits when Redis does not answer.
STORE_RETRY_S: Final = 2.0
#: How long a question in flight may still take when the worker stops.
STOP_S: Final = 2.0


class Stopped(Exception):
    """The worker is stopping, or has too many in line: the job is given back."""


@dataclass
class _Waiter:
    ask: Ask
    reply: asyncio.Future[Reply]
    #: When it came, by the loop's clock.
    since_s: float

    def fail(self, error: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class Pacer:
    """Lets calls of one model through, in order.

    Args:
        ask: puts asks to the store; replies up to the first that has to wait.
        void: takes back a grant that nobody wants any more.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Ask]], Awaitable[list[Reply]]],
        void: Callable[[Ask], Awaitable[None]],
    ) -> None:
        self._ask = ask
        self._void = void
        self._line: deque[_Waiter] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()
        self._stopping = asyncio.Event()
        #: The last question left somebody waiting for quota or a slot.
        self._is_blocked = False
        #: The first waits, and no question is in flight.
        self._rests = False

    async def admit(self, ask: Ask) -> Reply:
        """Wait for the verdict on a call; never AT or FULL.

        Raises:
            Stopped: the line was given up meanwhile.
        """
        if self._stopping.is_set():
            raise Stopped
        loop = asyncio.get_running_loop()
        waiter = _Waiter(ask, loop.create_future(), loop.time())
        self._line.append(waiter)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await waiter.reply

    def held_up(self, *, for_s: float) -> int:
        """How many wait for quota or a slot, if the first has for so long; else 0."""
        if not self._is_blocked or not self._line:
            return 0
        waited_s = asyncio.get_running_loop().time() - self._line[0].since_s
        return len(self._line) if waited_s >= for_s else 0

    def shed(self, number: int) -> int:
        """Have the last of the line raise Stopped; gives how many, which may be fewer."""
        if not self._rests:  # a question may be in flight, and its replies go by places in line
            return 0
        found = min(number, len(self._line) - 1)
        for _ in range(found):
            self._line.pop().fail(Stopped())
        return max(found, 0)

    def wake(self) -> None:
        """Ask again now: a slot may be free."""
        self._nudge.set()

    async def stop(self) -> None:
        """Give the line up; grants that nobody has heard of yet are taken back."""
        self._stopping.set()
        self._nudge.set()
        if (runner := self._runner) is not None:
            # a question that has been put is answered first: what it was granted is known then
            await asyncio.wait({runner}, timeout=STOP_S)
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
        line, self._line = self._line, deque()
        for waiter in line:
            waiter.fail(Stopped())
        granted = [waiter.ask for waiter in line if waiter.ask.ticket]
        await asyncio.gather(*(self._void(ask) for ask in granted), return_exceptions=True)

    async def _run(self) -> None:
        try:
            while self._line and not self._stopping.is_set():
                # a grant that had to wait is due now
                if len(self._line) < GROUP and not self._line[0].ask.ticket:
                    await self._pause(GATHER_S)
                await self._serve([self._line[n] for n in range(min(GROUP, len(self._line)))])
        except Exception as error:  # a line that nobody serves would wait for ever
            log.exception("The line of a model broke; its jobs go round again.")
            while self._line:
                self._line.popleft().fail(error)
        finally:
            self._runner = None

    async def _serve(self, group: Sequence[_Waiter]) -> None:
        try:
            replies = await self._ask([waiter.ask for waiter in group])
        except StoreError as error:
            log.warning("Calls wait for Redis: %s", error)
            self._is_blocked = False
            await self._pause(STORE_RETRY_S)
            return
        self._is_blocked = replies[-1].verdict in (Verdict.AT, Verdict.FULL)
        for waiter, reply in zip(group, replies, strict=False):
            waiter.ask = replace(waiter.ask, ticket=reply.ticket or waiter.ask.ticket)
            if self._stopping.is_set():
                continue  # stop() takes back what was granted
            if reply.verdict in (Verdict.AT, Verdict.FULL):  # the last reply there is
                self._rests = True
                try:
                    await self._rest(reply)
                finally:
                    self._rests = False
            else:
                self._line.popleft()
                await self._answer(waiter, reply)

    async def _answer(self, waiter: _Waiter, reply: Reply) -> None:
        if not waiter.reply.done():
            waiter.reply.set_result(reply)
        elif reply.verdict is Verdict.GO:  # who asked was cancelled
            with contextlib.suppress(StoreError):
                await self._void(waiter.ask)

    async def _rest(self, reply: Reply) -> None:
        if reply.verdict is Verdict.AT:
            await self._pause(reply.wait_s)
        else:
            await self._wait_for_slot()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _wait_for_slot(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._nudge.wait()
        self._nudge.clear()
