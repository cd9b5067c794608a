"""Counts by name, for names that come from outside: however many there are, few are kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final, TypeVar

#: What is counted for the names that came too late.
OTHERS: Final = "(others)"

Value = TypeVar("Value")


class Bounded(defaultdict[str, Value]):
    """A dict that makes the value of a new name, as long as there are few names.

    Args:
        make: makes a value.
        most: names; later ones share the value of ``OTHERS``.
    """

    def __init__(self, make: Callable[[], Value], *, most: int) -> None:
        super().__init__(make)
        self._most = most

    def __missing__(self, name: str) -> Value:
        if len(self) < self._most or name == OTHERS:
            return super().__missing__(name)
        return self[OTHERS]


def count_name(counts: Counter[str], name: str, *, most: int) -> None:
    """Count a name; those that come after ``most`` others as ``OTHERS``."""
    counts[name if name in counts or len(counts) < most else OTHERS] += 1
