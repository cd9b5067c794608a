"""The workers, their models, and what keeps them from working together."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from promptyard import __version__
from promptyard.batch import BatchStatus
from promptyard.catalog import Catalog
from promptyard.cli.doctor.capacity import examine_capacity
from promptyard.cli.doctor.finding import Finding, judged
from promptyard.cli.doctor.observed import observed_calls
from promptyard.cli.troubles import troubles
from promptyard.cli.words import count, span
from promptyard.errors import StoreError
from promptyard.names import CLASSIFY_QUEUE, PRIORITIES, QUEUES
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, jobs, waiting
from promptyard.store.health import ModelHealth
from promptyard.store.presence import WorkerCard

#: Clocks that differ by less are as good as equal: network and Redis' answer take their time.
_SKEW_S: Final = 2.0


@dataclass(frozen=True)
class _Fleet:
    """What one look at the store shows."""

    cards: Sequence[WorkerCard]
    catalog: Catalog | None
    models: Sequence[ModelHealth]
    batches: Sequence[BatchStatus]
    #: Jobs that wait to be taken, by queue.
    waiting: Mapping[str, int]
    #: How far this machine's clock is ahead of Redis'.
    clock_ahead_s: float


def examine_fleet(url: str, settings: Settings) -> Iterator[Finding]:
    """Look at workers, queues, clocks, versions, models and their slots."""
    try:
        with Producer(url, settings=settings) as producer, closing(Store(url)) as store:
            fleet = _look(producer, store)
            calls = observed_calls(store, fleet.batches)
    except StoreError as error:
        yield Finding(subject="workers", verdict="fail", detail="unknown", remedy=str(error))
        return
    for queue in QUEUES:
        yield from _queue(queue, fleet)
    yield _versions(fleet)
    yield from _policies(fleet.cards)
    yield _clocks(fleet)
    yield from _visibility(fleet)
    yield from _models(fleet.models)
    if fleet.catalog is not None:
        yield from examine_capacity(fleet.catalog, fleet.cards, calls)


def _look(producer: Producer, store: Store) -> _Fleet:
    before_s = time.time()
    redis_s = store.do(jobs.time_s())
    ahead_s = (before_s + time.time()) / 2 - redis_s
    places = [(queue, level) for queue in QUEUES for level in PRIORITIES]
    counts = store.do_many([waiting.waiting_count(*place) for place in places])
    waits: Counter[str] = Counter()
    for (queue, _), number in zip(places, counts, strict=True):
        waits[queue] += number
    return _Fleet(
        cards=producer.workers(),
        catalog=producer.catalog(),
        models=producer.models(),
        batches=producer.batches(),
        waiting=waits,
        clock_ahead_s=ahead_s,
    )


def _queue(queue: str, fleet: _Fleet) -> Iterator[Finding]:
    """Whether somebody takes from it, as long as the router file uses it."""
    waits = fleet.waiting[queue]
    catalog = fleet.catalog
    if catalog is not None and queue not in (CLASSIFY_QUEUE, *catalog.tier_models) and not waits:
        return
    serving = [card for card in fleet.cards if queue in card.queues]
    slots = sum(card.concurrency for card in serving)
    subject, waiting_text = f"queue {queue}", f"{count(waits, 'job')} waiting"
    if serving:
        detail = f"{count(len(serving), 'worker')}, {slots} at once, {waiting_text}"
        yield Finding(subject=subject, verdict="ok", detail=detail)
        return
    yield Finding(
        subject=subject,
        verdict="fail" if waits else "warn",
        detail=f"nobody consumes it, {waiting_text}",
        remedy=f"promptyard worker {queue}, or promptyard up",
    )


def _versions(fleet: _Fleet) -> Finding:
    """Whether workers, producers of the recent batches and this machine have the same."""
    found = {__version__: ["this machine"]}
    for card in fleet.cards:
        found.setdefault(card.version, []).append(card.name)
    for batch in fleet.batches:
        if batch.version is not None:
            found.setdefault(batch.version, []).append(f"producer of batch {batch.id}")
    return judged(
        "versions",
        well=len(found) == 1,
        otherwise="warn",
        detail=f"{__version__} everywhere"
        if len(found) == 1
        else "; ".join(f"{version}: {_some(who)}" for version, who in sorted(found.items())),
        remedy="give all the same version, workers first, producers last; CHANGELOG.md says "
        "which do not go together",
    )


def _policies(cards: Sequence[WorkerCard]) -> Iterator[Finding]:
    """Whether all workers go by the same router file."""
    by_policy: dict[str, list[str]] = {}
    for card in cards:
        by_policy.setdefault(card.policy_version, []).append(card.name)
    if len(by_policy) > 1:
        yield Finding(
            subject="router files",
            verdict="warn",
            detail="; ".join(f"{one}: {_some(who)}" for one, who in sorted(by_policy.items())),
            remedy="give every host the same router.yaml; a file that cannot be used is refused "
            "and the old one stays: the worker's log and promptyard router check say why",
        )


def _clocks(fleet: _Fleet) -> Finding:
    """Whether the clocks of the hosts agree with Redis', by which leases and quota go."""
    ahead_s = {
        card.host: card.clock_ahead_s for card in fleet.cards if card.clock_ahead_s is not None
    }
    ahead_s[socket.gethostname()] = fleet.clock_ahead_s
    off = {host: s for host, s in ahead_s.items() if abs(s) > _SKEW_S}
    is_redis = len(off) == len(ahead_s) > 1
    return judged(
        "clocks",
        well=not off,
        otherwise="warn",
        detail="; ".join(
            f"{host} is {span(abs(s))} {'ahead of' if s > 0 else 'behind'} Redis"
            for host, s in sorted(off.items())
        )
        or f"{count(len(ahead_s), 'host')}, all within {_SKEW_S:g} s of Redis",
        remedy=("all differ from it: set the clock of Redis' host" if is_redis else "set them")
        + " by NTP (chrony, systemd-timesyncd): leases and quota go by Redis' clock, but logs, "
        "certificates and Google's logins go by each host's own",
    )


def _visibility(fleet: _Fleet) -> Iterator[Finding]:
    """Whether the broker waits longer for an acknowledgement than a call can take."""
    known = [card.visibility_timeout_s for card in fleet.cards if card.visibility_timeout_s]
    if not known or fleet.catalog is None:
        return
    patience_s = min(known)
    limits_s = {name: card.timeout_s or 0.0 for name, card in fleet.catalog.models.items()}
    slowest = max(limits_s, key=lambda name: limits_s[name])
    longest_s = limits_s[slowest]
    yield judged(
        "visibility",
        well=longest_s < patience_s,
        otherwise="warn",
        detail=f"a message is delivered again after {span(patience_s)}, "
        f"a call of {slowest} may take {span(longest_s)}",
        remedy=f"set timeout_s of {slowest} in router.yaml below {patience_s:g}: a message that "
        "comes again makes no second call, but keeps a worker busy",
    )


def _models(models: Sequence[ModelHealth]) -> Iterator[Finding]:
    found = troubles(models)
    for trouble in found:
        yield Finding(
            subject=trouble.model,
            verdict="fail" if trouble.is_failure else "warn",
            detail=trouble.what,
            remedy=trouble.remedy,
        )
    if models and not found:
        yield Finding(subject="models", verdict="ok", detail=f"{len(models)}, all well")


def _some(names: Sequence[str], *, limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
