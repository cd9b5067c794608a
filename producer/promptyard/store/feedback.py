"""Calls about how the answers of each route did."""

from __future__ import annotations

from enum import StrEnum

from promptyard.store import keys
from promptyard.store.call import Call


class Kind(StrEnum):
    """What is counted of a route."""

    ANSWERS = "answers"
    REPAIRS = "repairs"
    ESCALATIONS = "escalations"


def add(route: str, kind: Kind, count: int) -> Call[int]:
    """Count something of a route."""
    return Call("HINCRBY", (keys.FEEDBACK, f"{kind}:{route}", count), int)


def counts() -> Call[dict[str, dict[Kind, int]]]:
    """All counts: route -> kind -> number."""

    def decode(reply: dict[bytes, bytes]) -> dict[str, dict[Kind, int]]:
        found: dict[str, dict[Kind, int]] = {}
        for name, count in reply.items():
            kind, route = name.decode().split(":", 1)
            found.setdefault(route, {})[Kind(kind)] = int(count)
        return found

    return Call("HGETALL", (keys.FEEDBACK,), decode)
