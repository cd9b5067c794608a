"""Calls about the fleet: who is at work, with which models, how long the queues are."""

from __future__ import annotations

from promptyard.catalog import Catalog
from promptyard.store import keys
from promptyard.store.call import Call, open_ttl_s
from promptyard.store.presence import CARDS_TTL_S, WorkerCard
from promptyard.store.scripts import script


def put_catalog(catalog: Catalog, *, retention_s: float) -> Call[None]:
    """Publish the workers' models and prices."""
    args = (keys.CATALOG, catalog.model_dump_json(), "EX", open_ttl_s(retention_s))
    return Call("SET", args, lambda _: None)


def catalog() -> Call[Catalog | None]:
    """The catalog the workers published last."""
    return Call(
        "GET", (keys.CATALOG,), lambda reply: Catalog.model_validate_json(reply) if reply else None
    )


def put_card(card: WorkerCard) -> Call[int]:
    """Say that a worker is there."""
    return Call("HSET", (keys.WORKERS, card.name, card.model_dump_json()), int)


def keep_cards() -> Call[int]:
    """Renew the time the cards are kept."""
    return Call("EXPIRE", (keys.WORKERS, CARDS_TTL_S), int)


def drop_card(*names: str) -> Call[int]:
    """Say that workers have gone."""
    return Call("HDEL", (keys.WORKERS, *names), int)


def cards() -> Call[list[WorkerCard]]:
    """The cards of all workers, stale ones included."""
    return Call(
        "HVALS",
        (keys.WORKERS,),
        lambda reply: [WorkerCard.model_validate_json(card) for card in reply],
    )


def take_care(name: str, *, for_s: float) -> Call[bool]:
    """Be the caretaker for so long, or go on being it. False: another is."""
    return Call(script("care"), (keys.CARETAKER, name, round(for_s * 1000)), bool)


def queue_length(queue: str, priority: int) -> Call[int]:
    """Messages waiting in a queue at one priority."""
    return Call("LLEN", (keys.queue(queue, priority),), int)


def in_flight() -> Call[int]:
    """Jobs that workers hold: in a call, or before it, waiting for quota."""
    return Call("ZCARD", (keys.LEASES,), int)
