"""Whether the slots can use the quota: Little's law over the calls of late.

Calls in flight = calls a second x seconds a call (J. D. C. Little, Operations Research 9, 1961).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from promptyard.catalog import Catalog, ModelCard
from promptyard.cli.doctor.finding import Finding
from promptyard.cli.doctor.observed import Observed
from promptyard.cli.words import count, seconds
from promptyard.store.presence import WorkerCard

#: Fewer calls say little about the next ones.
_MIN_CALLS: Final = 20
#: Slots that reach so much of the quota are enough: latencies vary more than that.
_ENOUGH: Final = 0.95
#: A call takes at least this, whatever a stand-in's clock says.
_SHORTEST_S: Final = 0.001


def examine_capacity(
    catalog: Catalog, cards: Sequence[WorkerCard], calls: Mapping[str, Observed]
) -> Iterator[Finding]:
    """Models whose quota the workers cannot use up, were there enough prompts."""
    judged = 0
    for name, model in catalog.models.items():
        seen, allowed = calls.get(name), None
        if seen is not None and seen.calls >= _MIN_CALLS:
            allowed = _allowed_per_minute(model, seen)
        if seen is None or allowed is None:
            continue
        slots = sum(card.concurrency for card in cards if model.tier in card.queues)
        if not slots:
            continue  # the queue's finding says so
        judged += 1
        yield from _too_few(name, model, slots, seen, allowed)
    if not judged:
        detail = "not judged: no model with a quota in router.yaml has been called of late"
        yield Finding(subject="slots", verdict="ok", detail=detail)


def _allowed_per_minute(model: ModelCard, seen: Observed) -> float | None:
    """Calls that its quota lets through, with prompts of that length; None: any number."""
    limits = [float(model.rpm)] if model.rpm else []
    if model.tpm and seen.mean_input_tokens:
        limits.append(model.tpm / seen.mean_input_tokens)
    return min(limits, default=None)


def _too_few(
    name: str, model: ModelCard, slots: int, seen: Observed, allowed: float
) -> Iterator[Finding]:
    needed = math.ceil(allowed / 60 * seen.mean_s)
    usable = min(slots, model.max_concurrency or slots)
    reached = usable / max(seen.mean_s, _SHORTEST_S) * 60
    subject = f"slots of {name}"
    detail = (
        f"{count(usable, 'slot')} at {seconds(seen.mean_s)} a call make {reached:,.0f} calls a "
        f"minute; its quota lets {allowed:,.0f} through"
    )
    if reached >= _ENOUGH * allowed:
        yield Finding(subject=subject, verdict="ok", detail=detail)
        return
    remedies = []
    if model.max_concurrency is not None and model.max_concurrency < needed:
        remedies.append(f"raise its max_concurrency in router.yaml to {needed}")
    if slots < needed:
        remedies.append(
            f"promptyard worker {model.tier} --concurrency {needed}, or more workers: "
            f"{needed} slots in all use its quota"
        )
    yield Finding(subject=subject, verdict="warn", detail=detail, remedy="; ".join(remedies))
