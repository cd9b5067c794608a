"""Calls about pauses: of a batch, a tier or a model. They last until somebody ends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from promptyard.store import keys
from promptyard.store.call import Call
from promptyard.store.scripts import script

_NANO: Final = 1e9


class Pausing(StrEnum):
    """What became of a wish to pause."""

    PAUSED = "paused"
    #: It was paused already.
    ALREADY = "already"
    #: There is no such batch.
    GONE = "gone"


_PAUSINGS: Final = {1: Pausing.PAUSED, 0: Pausing.ALREADY, -1: Pausing.GONE}


class Resuming(StrEnum):
    """What became of a wish to resume."""

    RESUMED = "resumed"
    #: It was not paused.
    RUNNING = "running"
    #: The cap on the batch's cost leaves no room for a call.
    SPENT = "spent"
    #: There is no such batch.
    GONE = "gone"


@dataclass(frozen=True)
class Resumption:
    """What came of a resume; the amounts are those of a batch whose budget is spent."""

    verdict: Resuming
    spent_usd: float = 0.0
    #: The cap that does not do.
    max_cost_usd: float = 0.0
    #: What the call that did not fit may cost.
    short_usd: float = 0.0


def pause(place: str) -> Call[Pausing]:
    """Let no more calls of a place (``batch:...``, ``tier:...``, ``model:...``) through."""
    return Call(script("pause"), (place,), lambda reply: _PAUSINGS[reply])


def resume(place: str, *, max_cost_usd: float | None = None) -> Call[Resumption]:
    """End a pause.

    Args:
        place: what is paused.
        max_cost_usd: of a batch: its cap from now on; None: as it is.
    """
    cap = "" if max_cost_usd is None else round(max_cost_usd * _NANO)
    return Call(script("resume"), (place, cap), _resumption)


def is_paused(place: str) -> Call[bool]:
    """Whether a place (``batch:...``, ``tier:...``, ``model:...``) is paused."""
    kind, _, name = place.partition(":")
    if kind == "batch":
        return Call("HEXISTS", (keys.batch(name), "paused"), bool)
    return Call("HEXISTS", (keys.PAUSED, place), bool)


def paused_places() -> Call[dict[str, float]]:
    """Paused tiers and models: place -> since when (seconds since the epoch)."""
    return Call(
        "HGETALL",
        (keys.PAUSED,),
        lambda reply: {name.decode(): float(since) for name, since in reply.items()},
    )


def _resumption(reply: Sequence[bytes]) -> Resumption:
    verdict, *amounts = reply
    return Resumption(Resuming(verdict.decode()), *(int(amount) / _NANO for amount in amounts))
