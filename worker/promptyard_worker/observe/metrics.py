"""The metrics of one worker process, for Prometheus.

Names and units follow https://prometheus.io/docs/practices/naming/; no id is ever a label.
docs/reference/metrics.md lists them; what only the store knows comes from ``promptyard exporter``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from promptyard.job import FINAL_STATES
from promptyard.names import QUEUES, Tier
from promptyard_worker.refusals import REASONS

#: Kinds of tokens. Thinking is billed as output; cached tokens are a part of the input.
TOKENS: Final = ("input", "output", "thinking", "cached")
#: A thinking model takes minutes.
CALL_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 150, 300)
#: A batch's last job may wait for a day.
WAIT_BUCKETS_S: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
ROUTING_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
MARGIN_BUCKETS: Final = tuple(n / 20 for n in range(1, 20))


class Metrics:
    """Counters and histograms, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = self._counter("jobs", "Jobs that ended.", "state", "tier")
        self.queue_wait_s = self._histogram(
            "queue_wait_seconds", "From routed to the first call.", WAIT_BUCKETS_S, "tier"
        )
        self.latency_s = self._histogram(
            "job_latency_seconds", "From accepted to ended.", WAIT_BUCKETS_S, "tier"
        )
        self.call_s = self._histogram(
            "call_duration_seconds",
            "Calls of a model; outcome is ok or the error's type.",
            CALL_BUCKETS_S,
            "model",
            "outcome",
        )
        self.tokens = self._counter("tokens", "Tokens billed.", "model", "type")
        self.cost_usd = self._counter(
            "cost_usd", "US dollars billed, by router.yaml's prices.", "model"
        )
        self.retries = self._counter(
            "retries", "Jobs tried again on the same model.", "model", "reason"
        )
        self.fallbacks = self._counter(
            "fallbacks",
            "Jobs that went to another model because one failed or was down.",
            "from_model",
            "to_model",
        )
        self.escalations = self._counter(
            "escalations",
            "Jobs that went to a stronger model because an answer was not good enough.",
            "from_model",
            "to_model",
        )
        self.rate_limited = self._counter("rate_limited", "429s.", "model", "quota")
        self.reaped = self._counter(
            "leases_reaped", "Jobs taken back from workers that fell silent."
        )
        self.refused = self._counter(
            "messages_refused", "Messages in our queues that were none of ours.", "queue", "reason"
        )
        self.decisions = self._counter(
            "decisions", "Jobs routed, by the stage that decided.", "stage", "route", "tier"
        )
        self.margin = self._histogram(
            "decision_margin", "How far a decision was from another one.", MARGIN_BUCKETS, "stage"
        )
        self.routing_s = self._histogram(
            "routing_duration_seconds",
            "Routing of one chunk, embedding included.",
            ROUTING_BUCKETS_S,
        )
        self._expect()

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"promptyard_{name}", meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(
            f"promptyard_{name}", meaning, labels, buckets=buckets, registry=self.registry
        )

    def _expect(self) -> None:
        """Have what is bounded at 0: Prometheus sees no increase in a series that appears at 1."""
        for queue, reason in product(QUEUES, REASONS):
            self.refused.labels(queue, reason)
        for state, tier in product(sorted(FINAL_STATES), Tier):
            self.jobs.labels(str(state), tier)
        for tier in Tier:
            self.queue_wait_s.labels(tier)
            self.latency_s.labels(tier)

    def expect_model(self, model: str) -> None:
        """Have what every model of the router file has, too."""
        self.call_s.labels(model, "ok")
        self.cost_usd.labels(model)
        for kind in TOKENS:
            self.tokens.labels(model, kind)
