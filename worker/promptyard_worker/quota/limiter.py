"""The shared quota as a worker sees it: admit before a call, settle after it.

admit waits in the line of its model (``pacer``) until the store's script lets the call through;
settle puts the real tokens in the place of the estimate and gives the slot back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from promptyard.errors import StoreError
from promptyard.names import Tier
from promptyard.store import Call, quota
from promptyard.store.quota import VOID, Ask, Limits, Reply, Settlement, Verdict
from promptyard_worker.pacific import next_midnight
from promptyard_worker.quota.pacer import STORE_RETRY_S, Pacer, Stopped

if TYPE_CHECKING:
    from promptyard.store import AsyncStore
    from promptyard_worker.clock import Clock
    from promptyard_worker.gemini.taxonomy import CallFailure
    from promptyard_worker.routing.execution import ModelConfig

log = logging.getLogger(__name__)

#: Google's minute.
MINUTE_S: Final = 60.0
#: A minute's allowance is handed out in no less than this, so that it is no single blow.
SPREAD_S: Final = 5.0
#: A probe has the field for itself for so long at most.
PROBE_S: Final = 30.0
#: One blocking read for wake-ups.
LISTEN_S: Final = 5.0


class Limiter:
    """What one process asks of the shared quota; lives on its event loop."""

    def __init__(
        self, store: AsyncStore, *, clock: Clock, lease_s: float, retention_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._lease_s = lease_s
        self._retention_s = retention_s
        self._process = uuid.uuid4().hex
        self._lines: dict[str, _Line] = {}
        self._listener: asyncio.Task[None] | None = None
        self._stopped = False

    async def admit(self, model: str, config: ModelConfig, ask: Ask) -> Reply:
        """Wait until the call may be made, or until it is clear that it may not.

        Raises:
            Stopped: the worker is stopping.
        """
        if self._stopped:
            raise Stopped
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = _Line(self, model)
        line.config = config
        reply = await line.pacer.admit(ask)
        if reply.verdict is Verdict.GO and config.quota.max_concurrency is not None:
            line.slots.add(ask.job_id)
        return reply

    def settle(
        self, model: str, config: ModelConfig, job_id: str, ticket: str, tokens: int | str | None
    ) -> list[Call[int]]:
        """End a grant; the caller carries out what is given.

        Nobody waits for real tokens until somebody asks, so they are told with the next question
        or beat, many at once. Slots and grants that count nowhere are given back now.

        Args:
            model: what was called.
            config: of the model.
            job_id: whose call it was.
            ticket: of the grant.
            tokens: real input tokens; None: unknown; VOID: the grant counts nowhere.
        """
        one, line = Settlement(job_id, ticket, tokens), self._lines.get(model)
        if line is not None:
            line.slots.discard(job_id)
        urgent = tokens == VOID or config.quota.max_concurrency is not None or self._stopped
        if line is None or urgent:
            return [quota.settle(limits_of(model, config), [one])]
        line.owed.append(one)
        return []

    def refused(
        self, model: str, config: ModelConfig, ticket: str, failure: CallFailure
    ) -> Call[float]:
        """Tell of a 429 that was not about a day; all workers of the model wait."""
        return quota.refuse(
            limits_of(model, config),
            kind=str(failure.quota or "unnamed"),
            ticket=ticket,
            retry_after_s=failure.retry_after_s,
            random=random.random(),  # noqa: S311 - spreads waits
        )

    def beat(self, now_s: float) -> list[Call[int]]:
        """Keep the slots of calls in flight, tell what is owed; ``now_s`` is Redis' time."""
        lines = list(self._lines.items())
        return [
            *(
                quota.renew_slots(model, sorted(line.slots), now_s + self._lease_s)
                for model, line in lines
                if line.slots
            ),
            *(call for model, line in lines for call in line.settlements(model)),
        ]

    def day_reset_s(self) -> float:
        """When the day of the quota ends (seconds since the epoch)."""
        return next_midnight(datetime.fromtimestamp(self._clock.now_s(), UTC)).timestamp()

    def held_up(self, tier: Tier, *, for_s: float) -> int:
        """Jobs of a tier that wait, in lines whose first has waited for so long."""
        return sum(line.pacer.held_up(for_s=for_s) for line in self._lines_of(tier))

    def shed(self, tier: Tier, number: int) -> int:
        """Give back so many of a tier's jobs, the last of their lines; gives how many it could."""
        shed = 0
        for line in self._lines_of(tier):
            shed += line.pacer.shed(number - shed)
        return shed

    def _lines_of(self, tier: Tier) -> list[_Line]:
        return [line for line in self._lines.values() if line.config.tier is tier]

    def forget(self, job_id: str) -> None:
        """A job left the worker's hands, however it did: its slot is not kept any more."""
        for line in self._lines.values():
            line.slots.discard(job_id)

    async def stop(self) -> None:
        """Let nothing more through; what waits raises Stopped."""
        self._stopped = True
        if self._listener is not None:
            self._listener.cancel()
        await asyncio.gather(*(line.pacer.stop() for line in self._lines.values()))
        for model, line in self._lines.items():
            with contextlib.suppress(StoreError):  # its place lapses by itself
                limits = limits_of(model, line.config)
                calls: list[Call[Any]] = [*line.settlements(model)]
                await self._store.do_many([*calls, *quota.leave(limits, self._process)])

    async def ask(self, model: str, config: ModelConfig, asks: Sequence[Ask]) -> list[Reply]:
        """One question to the store for calls of a model."""
        question: Call[Any] = quota.admit(
            limits_of(model, config),
            asks,
            process=self._process,
            lease_s=self._lease_s,
            retention_s=self._retention_s,
            spread_s=SPREAD_S,
            day_reset_s=self.day_reset_s(),
            probe_s=min(config.timeout_s, PROBE_S),
        )
        owed: list[Call[Any]] = [*self._lines[model].settlements(model)]
        replies: list[Reply] = (await self._store.do_many([*owed, question]))[-1]
        if replies[-1].verdict is Verdict.FULL and self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        return replies

    async def void(self, model: str, config: ModelConfig, ask: Ask) -> None:
        """Take back a grant that is not wanted any more."""
        await self._store.do_many(self.settle(model, config, ask.job_id, ask.ticket, VOID))

    async def _listen(self) -> None:
        """Pass on the store's word that a slot has been handed over."""
        while True:
            try:
                model = await self._store.do(quota.woken(self._process, timeout_s=LISTEN_S))
            except StoreError as error:
                log.debug("No wake-ups without Redis: %s", error)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            if model is not None and (line := self._lines.get(model)):
                line.pacer.wake()


class _Line:
    """One model's line, with the policy it was last asked under."""

    config: ModelConfig

    def __init__(self, limiter: Limiter, model: str) -> None:
        self.slots: set[str] = set()
        #: Calls that ended, of which the store has not been told.
        self.owed: list[Settlement] = []
        self.pacer = Pacer(
            lambda asks: limiter.ask(model, self.config, asks),
            lambda ask: limiter.void(model, self.config, ask),
        )

    def settlements(self, model: str) -> list[Call[int]]:
        """What is owed, in one call; told once, for a lost one costs no more than an estimate."""
        owed, self.owed = self.owed, []
        return [quota.settle(limits_of(model, self.config), owed)] if owed else []


def limits_of(model: str, config: ModelConfig) -> Limits:
    """The limits of a model as the scripts take them."""
    given = config.quota
    return Limits(
        model=model,
        window_s=MINUTE_S * (1 + given.safety),
        rpm=given.rpm,
        tpm=given.tpm,
        rpd=given.rpd,
        max_concurrency=given.max_concurrency,
    )
