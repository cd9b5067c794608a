"""A question to the store as a value: building one does no I/O.

A ``Call[T]`` holds a script or a Redis command, its arguments, and how the reply becomes a
``T``; ``Store`` and ``AsyncStore`` carry it out. Every script can be sent again after a lost
reply: the second time finds the job moved and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from promptyard.store.scripts import Script

T = TypeVar("T")
Arg = str | bytes | int | float

#: An open job's record outlives its last move by this much more than the retention.
OPEN_GRACE_S: Final = 30 * 86_400


@dataclass(frozen=True)
class Call(Generic[T]):
    """One question to Redis and how to read the reply."""

    command: str | Script
    args: tuple[Arg, ...]
    decode: Callable[[Any], T]
    #: Whether Redis may hold the reply back (BLOCK).
    blocks: bool = False


def open_ttl_s(retention_s: float) -> int:
    """How long a record lives that has not ended."""
    return int(retention_s) + OPEN_GRACE_S


def texts(reply: Sequence[bytes]) -> list[str]:
    """Decode a list of names."""
    return [item.decode() for item in reply]


def scored(reply: Sequence[Any]) -> list[tuple[str, float]]:
    """Decode members of a sorted set, asked for WITHSCORES."""
    members, scores = reply[::2], reply[1::2]
    return [(member.decode(), float(score)) for member, score in zip(members, scores, strict=True)]
