"""The series that a router file makes possible, at 0 from the start.

Prometheus sees no increase in a counter that appears at 1: the first fallback of a week would show
nowhere. So what is rare and bounded is there before it happens. Left to appear by themselves are
calls by error type (each a histogram), decisions by route, and jobs sent to a larger window.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Final

from promptyard.job import ErrorType
from promptyard_worker.gemini.quota_failure import QuotaKind
from promptyard_worker.retry import TRANSIENT

if TYPE_CHECKING:
    from promptyard_worker.observe.metrics import Metrics
    from promptyard_worker.routing.config import RouterConfig

#: Errors after which a job may be tried again on its model.
_RETRIED: Final = (*TRANSIENT, ErrorType.EMPTY_RESPONSE, ErrorType.SCHEMA_MISMATCH)


def expect(metrics: Metrics, config: RouterConfig) -> None:
    """Have the series of every model and chain of the router file."""
    for model in config.models:
        metrics.expect_model(model)
        for reason in _RETRIED:
            metrics.retries.labels(model, str(reason))
        for quota in QuotaKind:
            metrics.rate_limited.labels(model, str(quota))
        if stronger := config.stronger_than(model):
            metrics.escalations.labels(model, stronger)
    for from_model, to_model in _fallbacks(config):
        metrics.fallbacks.labels(from_model, to_model)


def _fallbacks(config: RouterConfig) -> set[tuple[str, str]]:
    """Any two of a chain: a model that is down is left out, and may come back."""
    own = {(name, None) for name in config.models}
    routes = {(route.model, name) for name, route in config.leaves() if route.model}
    chains = {config.fallback_chain(model, route=name) for model, name in own | routes}
    return {pair for chain in chains for pair in permutations(chain, 2)}
