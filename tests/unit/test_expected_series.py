"""Series that are at 0 before anything has happened, so that Prometheus sees the first of each."""

from __future__ import annotations

from itertools import permutations

from promptyard.names import Tier
from promptyard_worker.observe.observer import Observer
from promptyard_worker.routing.file import find_router_file, load_router

PRO, FLASH, LITE = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"


def series(observer: Observer, name: str) -> dict[tuple[str, ...], float]:
    """Value by label values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in observer.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_the_moves_a_router_file_makes_possible_are_there_at_zero() -> None:
    """Between any two models of a chain, and up one tier; no others."""
    observer = Observer()
    observer.governed_by(load_router(find_router_file(None)))
    chains = [(PRO, FLASH), (LITE, FLASH)]  # flash's own has flash first
    flash = load_router(find_router_file(None)).fallback_chain(FLASH)
    possible = {pair for chain in (*chains, flash) for pair in permutations(chain, 2)}
    assert series(observer, "promptyard_fallbacks_total") == dict.fromkeys(possible, 0)
    up = {(LITE, FLASH): 0, (FLASH, PRO): 0}
    assert series(observer, "promptyard_escalations_total") == up
    assert (LITE, "schema_mismatch") in series(observer, "promptyard_retries_total")
    assert (PRO, "rpd") in series(observer, "promptyard_rate_limited_total")
    assert {model for model, _ in series(observer, "promptyard_tokens_total")} == {PRO, FLASH, LITE}


def test_ends_of_every_tier_are_there_without_a_router_file() -> None:
    """A classify worker calls no model, and has no series of models."""
    observer = Observer()
    assert ("failed", "pro") in series(observer, "promptyard_jobs_total")
    assert {tier for (tier,) in series(observer, "promptyard_job_latency_seconds_count")} == {*Tier}
    assert series(observer, "promptyard_cost_usd_total") == {}


def test_another_router_file_takes_nothing_back() -> None:
    """A counter that went away and came again would look like a worker that started anew."""
    observer, config = Observer(), load_router(find_router_file(None))
    observer.governed_by(config)
    observer.rate_limited(PRO, "rpm")
    observer.governed_by(config)
    assert series(observer, "promptyard_rate_limited_total")[PRO, "rpm"] == 1
