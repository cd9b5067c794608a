"""When calls were made: by model, in bins that widen as the time that is looked at grows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from promptyard_worker.report.bounded import Bounded

#: The bins never cover more than this many widths.
MOST_BINS: Final = 240
#: Models with a line of their own.
MOST_MODELS: Final = 12
_MINUTE_S: Final = 60.0


@dataclass
class Track:
    """One model's calls."""

    #: Calls, and their input tokens, by the number of the bin.
    calls: Counter[int] = field(default_factory=Counter)
    tokens: Counter[int] = field(default_factory=Counter)

    def widen(self) -> None:
        """Join each two neighbouring bins."""
        self.calls, self.tokens = _joined(self.calls), _joined(self.tokens)


def _joined(bins: Counter[int]) -> Counter[int]:
    wide: Counter[int] = Counter()
    for number, count in bins.items():
        wide[number // 2] += count
    return wide


class Timeline:
    """Calls of all models, on one scale."""

    def __init__(self) -> None:
        #: Of a bin.
        self.width_s = 1
        self._tracks: Bounded[Track] = Bounded(Track, most=MOST_MODELS)
        self._first: int | None = None
        self._last = 0

    @property
    def models(self) -> list[str]:
        """Models that were called, by name."""
        return sorted(self._tracks)

    def add(self, model: str, *, started_s: float, tokens: int) -> None:
        """Count a call."""
        number = int(started_s // self.width_s)
        first = number if self._first is None else min(self._first, number)
        last = number if self._first is None else max(self._last, number)
        while last - first >= MOST_BINS:
            self._widen()
            number, first, last = number // 2, first // 2, last // 2
        self._first, self._last = first, last
        track = self._tracks[model]
        track.calls[number] += 1
        track.tokens[number] += tokens

    @property
    def ends_s(self) -> list[float]:
        """When each bin ends, from the first call of any model to the last; epoch seconds."""
        if self._first is None:
            return []
        return [float((n + 1) * self.width_s) for n in range(self._first, self._last + 1)]

    def calls(self, model: str) -> list[int]:
        """Calls in each bin."""
        return self._row(self._tracks[model].calls)

    def calls_a_minute(self, model: str) -> list[float]:
        """Calls in the minute that ends with each bin; their mean where bins are longer."""
        return self._a_minute(self._tracks[model].calls)

    def tokens_a_minute(self, model: str) -> list[float]:
        """Likewise their input tokens."""
        return self._a_minute(self._tracks[model].tokens)

    def _a_minute(self, bins: Counter[int]) -> list[float]:
        size = max(1, round(_MINUTE_S / self.width_s))
        part = _MINUTE_S / (size * self.width_s)
        sums = [0, *accumulate(self._row(bins))]
        return [(sums[end] - sums[max(0, end - size)]) * part for end in range(1, len(sums))]

    def _row(self, bins: Counter[int]) -> list[int]:
        if self._first is None:
            return []
        return [bins[number] for number in range(self._first, self._last + 1)]

    def _widen(self) -> None:
        self.width_s *= 2
        for track in self._tracks.values():
            track.widen()
