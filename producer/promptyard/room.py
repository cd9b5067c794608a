"""Room for new work: what a submit does when Redis is full."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Final, Literal, TypeVar, get_args

from promptyard.carrier import IO
from promptyard.errors import SettingsError, StoreError, StoreFull, SubmitError, SubmitFull
from promptyard.store.call import Call

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Raise a StoreFull, or wait until jobs that have ended make room, or somebody does.
WhenFull = Literal["raise", "wait"]

#: Between two tries: at first, and at most.
_FIRST_WAIT_S: Final = 0.25
_LONGEST_WAIT_S: Final = 10.0


class Room:
    """Lets the jobs of one submit in, and says once if it has to wait for room.

    Args:
        io: carries the calls.
        when_full: what to do when Redis is full.

    Raises:
        SettingsError: ``when_full`` is none of its values.
    """

    def __init__(self, io: IO, when_full: WhenFull) -> None:
        if when_full not in get_args(WhenFull):
            raise SettingsError(f'when_full={when_full!r}: use "raise" or "wait".')
        self._io = io
        self._waits = when_full == "wait"
        self._told = False

    async def let_in(self, calls: Sequence[Call[T]]) -> list[T]:
        """Carry out calls that bring new work in; after a wait, just those that were refused.

        Raises:
            StoreFull: there is no room, and nobody wants to wait.
            StoreError: Redis is out of reach or refuses.
        """
        replies: dict[int, T] = {}
        wait_s = _FIRST_WAIT_S
        while left := [n for n in range(len(calls)) if n not in replies]:
            outcomes = await self._io.do_each([calls[n] for n in left])
            refusals = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
            replies |= {
                n: outcome
                for n, outcome in zip(left, outcomes, strict=True)
                if not isinstance(outcome, StoreError)
            }
            if refusals:
                self._accept(refusals)
                wait_s = _FIRST_WAIT_S if len(refusals) < len(left) else wait_s * 2
                spread = random.uniform(0.5, 1)  # noqa: S311 - keeps producers apart
                await self._io.sleep(min(wait_s, _LONGEST_WAIT_S) * spread)
        return [replies[n] for n in range(len(calls))]

    def _accept(self, refusals: Sequence[StoreError]) -> None:
        """Take no for an answer, for now; raise what no wait would help against."""
        for refusal in refusals:
            if not isinstance(refusal, StoreFull):
                raise refusal
        if not self._waits:
            hint = 'Or have the submit wait for room: when_full="wait", --wait-when-full.'
            raise StoreFull(f"{refusals[0]} {hint}") from refusals[0]
        if not self._told:
            log.warning("%s Waiting for room.", refusals[0])
        self._told = True


def stopped(error: StoreError, *, batch_id: str, submitted: int) -> SubmitError:
    """The error of a submit that an error has stopped: which jobs are in, and what to do."""
    kind = SubmitFull if isinstance(error, StoreFull) else SubmitError
    return kind(
        f"{error} The first {submitted:,} jobs of batch {batch_id} are in, of those after them "
        "perhaps some: submit the same jobs with the same ids and batch_id again to complete it.",
        batch_id=batch_id,
        submitted=submitted,
    )
