"""Deterministic choices: the same prompt always gets the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1
_TWO_64 = float(1 << 64)


class Dice:
    """A splitmix64 sequence; ``random.Random`` costs ten times as much to seed."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def below(self, bound: int) -> int:
        """A whole number in ``[0, bound)``; ``bound`` must be positive."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) % bound

    def uniform(self) -> float:
        """A number in ``[0, 1)``."""
        return self.below(1 << 53) / (1 << 53)

    def pick(self, options: Sequence[T]) -> T:
        """One of ``options``, which must not be empty."""
        return options[self.below(len(options))]


def chance(seed: int, key: bytes, turn: int) -> float:
    """A number in ``[0, 1)`` fixed by seed, prompt and turn.

    It does not depend on the order in which concurrent calls arrive, so a run with faults
    can be repeated whatever the scheduling.
    """
    digest = blake2b(b"%d:%s:%d" % (seed, key, turn), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _TWO_64
