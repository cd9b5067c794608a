"""What a run counts while its results stream by, in bounded memory."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from promptyard.catalog import Catalog
from promptyard.cli.histogram import Histogram
from promptyard.formats.jsonl import BadLine
from promptyard.job import JobResult, JobState, Usage
from promptyard.names import Tier

#: Bad lines shown one by one; the rest is only counted.
BAD_LINES_SHOWN = 10
_SIMULATED = "-simulated"


@dataclass
class TierTally:
    """Counts of one tier."""

    jobs: int = 0
    #: Seconds in model calls, of jobs that made one.
    latency: Histogram = field(default_factory=Histogram)
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0

    def add(self, result: JobResult) -> None:
        """Count one result."""
        self.jobs += 1
        if result.attempts:
            self.latency.add(result.call_s)
        self.usage = Usage(
            prompt_tokens=self.usage.prompt_tokens + result.usage.prompt_tokens,
            output_tokens=self.usage.output_tokens + result.usage.output_tokens,
            thinking_tokens=self.usage.thinking_tokens + result.usage.thinking_tokens,
            cached_tokens=self.usage.cached_tokens + result.usage.cached_tokens,
        )
        self.cost_usd += result.cost_usd


class Tally:
    """Counts of one run; the submitting and the following thread both add to it."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        #: Input lines, bad ones included.
        self.lines = 0
        self.bad_count = 0
        #: The first ``BAD_LINES_SHOWN`` of them.
        self.bad_lines: list[BadLine] = []
        self.states: Counter[JobState] = Counter()
        self.tiers = {tier: TierTally() for tier in Tier}
        #: Jobs that ended without a tier (cancelled before they were routed, say).
        self.untiered = 0
        self.simulated = 0
        #: The same tokens at the price of one tier for all; tiers without a price are absent.
        self.cost_if_usd: dict[Tier, float] = {}
        self._prices = {
            tier: price for tier in Tier if catalog and (price := catalog.price_of_tier(tier))
        }
        for tier in self._prices:
            self.cost_if_usd[tier] = 0.0

    @property
    def cost_usd(self) -> float:
        """Spent on all results."""
        return sum(tier.cost_usd for tier in self.tiers.values())

    @property
    def results(self) -> int:
        """Results of jobs, bad lines left out."""
        return sum(self.states.values())

    def add_line(self) -> None:
        """Count a line of the input."""
        self.lines += 1

    def add_bad_line(self, bad: BadLine) -> None:
        """Count a line that is no job."""
        with self._lock:
            self.bad_count += 1
            if len(self.bad_lines) < BAD_LINES_SHOWN:
                self.bad_lines.append(bad)

    def add_result(self, result: JobResult) -> None:
        """Count the result of a job."""
        self.states[result.status] += 1
        if result.tier is None:
            self.untiered += 1
        else:
            self.tiers[result.tier].add(result)
        if result.model_version and result.model_version.endswith(_SIMULATED):
            self.simulated += 1
        for tier, price in self._prices.items():
            self.cost_if_usd[tier] += price.cost_usd(result.usage)
