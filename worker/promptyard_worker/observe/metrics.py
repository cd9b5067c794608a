"""The metrics of one worker process, for Prometheus.

Names and units follow https://prometheus.io/docs/practices/naming/; no id is ever a label.
docs/reference/metrics.md lists them; what only the store knows comes from ``promptyard exporter``.
"""

from __future__ import annotations

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
        own = self.registry = CollectorRegistry()
        self.jobs = Counter("promptyard_jobs", "Jobs that ended.", ["state", "tier"], registry=own)
        self.queue_wait_s = Histogram(
            "promptyard_queue_wait_seconds",
            "From routed to the first call.",
            ["tier"],
            buckets=WAIT_BUCKETS_S,
            registry=own,
        )
        self.latency_s = Histogram(
            "promptyard_job_latency_seconds",
            "From accepted to ended.",
            ["tier"],
            buckets=WAIT_BUCKETS_S,
            registry=own,
        )
        self.call_s = Histogram(
            "promptyard_call_duration_seconds",
            "Calls of a model; outcome is ok or the error's type.",
            ["model", "outcome"],
            buckets=CALL_BUCKETS_S,
            registry=own,
        )
        self.tokens = Counter(
            "promptyard_tokens", "Tokens billed.", ["model", "type"], registry=own
        )
        self.cost_usd = Counter(
            "promptyard_cost_usd",
            "US dollars billed, by router.yaml's prices.",
            ["model"],
            registry=own,
        )
        self.retries = Counter(
            "promptyard_retries",
            "Jobs tried again on the same model.",
            ["model", "reason"],
            registry=own,
        )
        self.fallbacks = Counter(
            "promptyard_fallbacks",
            "Jobs that went to another model because one failed or was down.",
            ["from_model", "to_model"],
            registry=own,
        )
        self.escalations = Counter(
            "promptyard_escalations",
            "Jobs that went to a stronger model because an answer was not good enough.",
            ["from_model", "to_model"],
            registry=own,
        )
        self.rate_limited = Counter(
            "promptyard_rate_limited", "429s.", ["model", "quota"], registry=own
        )
        self.reaped = Counter(
            "promptyard_leases_reaped",
            "Jobs taken back from workers that fell silent.",
            registry=own,
        )
        self.refused = Counter(
            "promptyard_messages_refused",
            "Messages in our queues that were none of ours.",
            ["queue", "reason"],
            registry=own,
        )
        self.decisions = Counter(
            "promptyard_decisions",
            "Jobs routed, by the stage that decided.",
            ["stage", "route", "tier"],
            registry=own,
        )
        self.margin = Histogram(
            "promptyard_decision_margin",
            "How far a decision was from another one.",
            ["stage"],
            buckets=MARGIN_BUCKETS,
            registry=own,
        )
        self.routing_s = Histogram(
            "promptyard_routing_duration_seconds",
            "Routing of one chunk, embedding included.",
            buckets=ROUTING_BUCKETS_S,
            registry=own,
        )
        self._expect()

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
