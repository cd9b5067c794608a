"""Percentiles of any number of durations, in a few kilobytes."""

from __future__ import annotations

import math
from typing import Final

#: Largest relative error of a percentile.
RELATIVE_ERROR: Final = 0.01
#: What is shorter or longer counts as this long.
_SHORTEST_S: Final = 1e-3
_LONGEST_S: Final = 1e5

_LOG_BASE: Final = math.log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_LOWEST: Final = math.ceil(math.log(_SHORTEST_S) / _LOG_BASE)
_BUCKETS: Final = math.ceil(math.log(_LONGEST_S) / _LOG_BASE) - _LOWEST + 1


class Histogram:
    """Counts durations in buckets that grow by 2 % (DDSketch's rule, arXiv:1908.10693)."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        #: Durations added.
        self.count = 0

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        clamped = min(max(duration_s, _SHORTEST_S), _LONGEST_S)
        self._counts[math.ceil(math.log(clamped) / _LOG_BASE) - _LOWEST] += 1
        self.count += 1

    def quantile_s(self, q: float) -> float | None:
        """Seconds that a share ``q`` (0 to 1) of the durations does not exceed; None if empty.

        At most 1 % off; durations under 1 ms count as 1 ms.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(q * self.count))
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                # the point of the bucket that is equally far from both ends, relatively
                return math.exp((bucket + _LOWEST) * _LOG_BASE) * (1 - RELATIVE_ERROR)
        raise AssertionError("the counts do not add up")  # a bug of ours
