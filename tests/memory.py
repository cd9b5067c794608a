"""A Redis that is full, without gigabytes: its limit is set below what it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis


@contextmanager
def full(raw: redis.Redis) -> Iterator[None]:
    """Over ``maxmemory`` while the block runs."""
    raw.config_set("maxmemory", int(raw.info("memory")["used_memory"]) // 2)
    try:
        yield
    finally:
        raw.config_set("maxmemory", 0)


def leave_room(raw: redis.Redis, size: int) -> None:
    """So many bytes are left; ``full``, or the fixture of the server, takes the limit away."""
    raw.config_set("maxmemory", int(raw.info("memory")["used_memory"]) + size)
