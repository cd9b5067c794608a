"""The faults the stand-in can play, and when it plays them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from promptyard_worker.sim.dice import chance


class Fault(StrEnum):
    """One way in which a call goes wrong."""

    #: The request is refused as it is (INVALID_ARGUMENT).
    BAD_REQUEST = "400"
    #: The credentials are not accepted (UNAUTHENTICATED).
    UNAUTHENTICATED = "401"
    #: The caller may do nothing, or not use this model (PERMISSION_DENIED).
    FORBIDDEN = "403"
    #: The model is not there (NOT_FOUND).
    NOT_FOUND = "404"
    #: A quota is spent (RESOURCE_EXHAUSTED), without the name of a quota.
    EXHAUSTED = "429"
    #: The server failed (INTERNAL).
    INTERNAL = "500"
    #: A gateway failed.
    BAD_GATEWAY = "502"
    #: The model is overloaded (UNAVAILABLE).
    UNAVAILABLE = "503"
    #: The model took too long (DEADLINE_EXCEEDED).
    DEADLINE = "504"
    #: No answer comes; the connection stays open.
    HANG = "hang"
    #: The connection breaks before an answer.
    DISCONNECT = "disconnect"
    #: The prompt is blocked: ``promptFeedback.blockReason``.
    BLOCK = "block"
    #: The answer is withheld: ``finishReason`` SAFETY, no text.
    SAFETY = "safety"
    #: The answer ends before its first word: ``finishReason`` MAX_TOKENS, no text.
    MAX_TOKENS = "max_tokens"
    #: An answer without candidates.
    EMPTY = "empty"
    #: A text that is not the JSON asked for.
    BAD_JSON = "badjson"


#: Faults that are an HTTP status, by that status.
STATUS_FAULTS: Final = {fault: int(fault) for fault in Fault if fault.isdigit()}

#: Faults that are an odd answer of status 200; an embedding has none of them.
ANSWER_FAULTS: Final = frozenset(
    {Fault.BLOCK, Fault.SAFETY, Fault.MAX_TOKENS, Fault.EMPTY, Fault.BAD_JSON}
)


class FaultRates:
    """Draws faults by rate, the same for the same seed, prompt and turn."""

    __slots__ = ("_seed", "_steps")

    def __init__(self, rates: Mapping[Fault, float], seed: int) -> None:
        self._seed = seed
        self._steps: list[tuple[float, Fault]] = []
        upper = 0.0
        for fault, rate in rates.items():
            upper += rate
            self._steps.append((upper, fault))

    def draw(self, key: bytes, turn: int) -> Fault | None:
        """The fault of the ``turn``-th call (from 1) of the prompt ``key``, if any."""
        if not self._steps:
            return None
        drawn = chance(self._seed, key, turn)
        for upper, fault in self._steps:
            if drawn < upper:
                return fault
        return None
