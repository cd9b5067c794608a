"""Tells metrics and decision log what happens; the tasks know only this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptyard.job import Attempt, Decision
from promptyard.store.running import Why
from promptyard_worker.observe.metrics import TOKENS, Metrics

if TYPE_CHECKING:
    from promptyard_worker.observe.decision_log import DecisionLog
    from promptyard_worker.observe.ended import Ended
    from promptyard_worker.routing.config import RouterConfig


class Observer:
    """One process' eyes. Safe to call from any thread."""

    def __init__(self, decision_log: DecisionLog | None = None) -> None:
        self.metrics = Metrics()
        self._log = decision_log

    def governed_by(self, config: RouterConfig) -> None:
        """A router file is in force, whose models this process calls."""
        from promptyard_worker.observe.expected import expect  # loads the SDK, as calls do

        expect(self.metrics, config)

    def routed(self, decisions: Sequence[Decision], duration_s: float) -> None:
        """A chunk was routed."""
        seen = self.metrics
        seen.routing_s.observe(duration_s)
        for one in decisions:
            seen.decisions.labels(one.stage, one.route or "", one.tier).inc()
            if one.margin is not None:
                seen.margin.labels(one.stage).observe(one.margin)

    def called(self, attempt: Attempt) -> None:
        """A model was called."""
        seen, model = self.metrics, attempt.model
        outcome = str(attempt.error.type) if attempt.error else "ok"
        seen.call_s.labels(model, outcome).observe(attempt.duration_s)
        usage = attempt.usage
        counts = (
            usage.prompt_tokens,
            usage.output_tokens,
            usage.thinking_tokens,
            usage.cached_tokens,
        )
        for kind, count in zip(TOKENS, counts, strict=True):
            if count:
                seen.tokens.labels(model, kind).inc(count)
        if attempt.cost_usd:
            seen.cost_usd.labels(model).inc(attempt.cost_usd)

    def rate_limited(self, model: str, quota: str) -> None:
        """A model answered 429."""
        self.metrics.rate_limited.labels(model, quota).inc()

    def moved(self, why: Why, *, from_model: str, to_model: str, reason: str) -> None:
        """A job goes on elsewhere, or once more."""
        if why is Why.RETRY:
            self.metrics.retries.labels(from_model, reason).inc()
        elif why is Why.FALLBACK:
            self.metrics.fallbacks.labels(from_model, to_model).inc()
        elif why is Why.ESCALATION:
            self.metrics.escalations.labels(from_model, to_model).inc()

    def reaped(self, count: int) -> None:
        """Jobs were taken back from workers that fell silent."""
        self.metrics.reaped.inc(count)

    def refused(self, queue: str, reason: str) -> None:
        """A message was none of ours."""
        self.metrics.refused.labels(queue, reason).inc()

    def ended(self, job: Ended) -> None:
        """A job has ended here."""
        tier = job.tier or ""
        self.metrics.jobs.labels(str(job.state), tier).inc()
        if job.latency_s is not None:
            self.metrics.latency_s.labels(tier).observe(job.latency_s)
        if job.waited_s is not None:
            self.metrics.queue_wait_s.labels(tier).observe(job.waited_s)
        if self._log is not None:
            self._log.write(job)

    def close(self) -> None:
        """Write what waits."""
        if self._log is not None:
            self._log.close()
