"""The Redis or Valkey: whether it keeps what it is given."""

from __future__ import annotations

from typing import Any, Final

import redis

from promptyard.cli.doctor.finding import Finding, judged
from promptyard.store.faces import address, store_error

_OLDEST: Final = {"redis": 7, "valkey": 8}
_TIMEOUT_S: Final = 5
#: Of ``maxmemory``; above it a burst of prompts may not fit.
_TIGHT: Final = 0.8


def examine_server(url: str) -> list[Finding]:
    """Look at the server itself; ``redis`` fails if it cannot be reached."""
    where = address(url)
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, protocol=2
        ) as client:
            info = client.info()
    except (redis.RedisError, ValueError) as error:
        problem = error if isinstance(error, redis.RedisError) else redis.RedisError(str(error))
        remedy = str(store_error(problem, where))
        return [Finding(subject="redis", verdict="fail", detail=where, remedy=remedy)]
    return [_version(info, where), _eviction(info), _persistence(info), _memory(info)]


def _version(info: dict[str, Any], where: str) -> Finding:
    name = "valkey" if "valkey_version" in info else "redis"
    number = str(info.get(f"{name}_version", "0"))
    oldest = _OLDEST[name]
    return judged(
        "redis",
        well=int(number.partition(".")[0]) >= oldest,
        otherwise="fail",
        detail=f"{name} {number} at {where}",
        remedy=f"upgrade to {name} {oldest} or later",
    )


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    return judged(
        "eviction",
        well=policy == "noeviction",
        otherwise="fail",
        detail=f"maxmemory-policy {policy}",
        remedy="CONFIG SET maxmemory-policy noeviction, or jobs may vanish",
    )


def _persistence(info: dict[str, Any]) -> Finding:
    if not info.get("aof_enabled"):
        return Finding(
            subject="persistence",
            verdict="warn",
            detail="append-only file off",
            remedy="CONFIG SET appendonly yes, or a restart of Redis loses jobs",
        )
    status = info.get("aof_last_write_status")
    return judged(
        "persistence",
        well=status == "ok",
        otherwise="fail",
        detail=f"append-only file on, last write {status}",
        remedy="look at Redis' log: its disk may be full",
    )


def _memory(info: dict[str, Any]) -> Finding:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    return judged(
        "memory",
        well=not limit or used <= _TIGHT * limit,
        otherwise="warn",
        detail=f"{used / 1e6:,.1f} MB used" + (f" of {limit / 1e6:,.1f} MB" if limit else ""),
        remedy="raise maxmemory: a full Redis refuses new jobs",
    )
