"""Calls about batches: open, seal, count, follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from promptyard.batch import BatchState, BatchStatus, Pause, TierProgress
from promptyard.job import JobState, Usage
from promptyard.names import Tier
from promptyard.store import keys, records
from promptyard.store.call import Arg, Call, open_ttl_s, texts
from promptyard.store.scripts import script
from promptyard.version import __version__

_NANO: Final = 1e9


def open_batch(
    proposed_id: str,
    *,
    identity: str | None,
    fresh: bool,
    metadata: Mapping[str, str],
    max_cost_usd: float | None = None,
    retention_s: float,
) -> Call[tuple[str, bool]]:
    """The batch of an identity, new or known. Gives (batch id, whether it is new)."""
    pairs = [item for pair in metadata.items() for item in pair]
    return Call(
        script("open_batch"),
        (
            proposed_id,
            keys.identity(identity) if identity else "",
            int(fresh),
            open_ttl_s(retention_s),
            keys.BATCHES,
            "" if max_cost_usd is None else round(max_cost_usd * _NANO),
            __version__,
            *pairs,
        ),
        lambda reply: (reply[0].decode(), bool(reply[1])),
    )


def seal(batch_id: str, *, retention_s: float) -> Call[bool]:
    """Say that every job of the batch is in. False: there is no such batch."""
    return Call(script("seal"), (batch_id, int(retention_s)), bool)


def batch_jobs(batch_id: str, start: int, count: int) -> Call[list[str]]:
    """A page of the batch's job ids, in submission order."""
    return Call("LRANGE", (keys.batch_jobs(batch_id), start, start + count - 1), texts)


def batch_status(batch_id: str) -> Call[BatchStatus | None]:
    """The counters of a batch; None if there is no such batch."""
    return Call("HGETALL", (keys.batch(batch_id),), lambda reply: _status(batch_id, reply))


def batch_ids(limit: int) -> Call[list[str]]:
    """Recent batches, newest first."""
    return Call("ZREVRANGE", (keys.BATCHES, 0, limit - 1), texts)


def results_page(
    batch_id: str, cursor: str, *, count: int, block_ms: int | None
) -> Call[list[tuple[str, str]]]:
    """Ended jobs after a cursor, as (cursor, job id), waiting at most ``block_ms``."""
    wait: tuple[Arg, ...] = () if block_ms is None else ("BLOCK", block_ms)
    args = ("COUNT", count, *wait, "STREAMS", keys.batch_results(batch_id), cursor)
    return Call("XREAD", args, _entries, blocks=block_ms is not None)


def last_results(batch_id: str, *, count: int) -> Call[list[str]]:
    """Jobs of the batch that ended last, the newest first."""
    return Call(
        "XREVRANGE",
        (keys.batch_results(batch_id), "+", "-", "COUNT", count),
        lambda entries: [fields[b"id"].decode() for _, fields in entries],
    )


def _entries(reply: Any) -> list[tuple[str, str]]:
    if not reply:
        return []
    (_stream, entries), *_ = reply
    return [(entry_id.decode(), fields[b"id"].decode()) for entry_id, fields in entries]


def _status(batch_id: str, reply: dict[bytes, bytes]) -> BatchStatus | None:
    fields = {name.decode(): value.decode() for name, value in reply.items()}
    if "created" not in fields:
        return None

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    state = _state(fields)
    paused = Pause(fields["paused"]) if state is BatchState.PAUSED else None
    cap = fields.get("max_cost_nanousd")
    return BatchStatus(
        id=batch_id,
        state=state,
        paused=paused,
        total=number("total"),
        counts={state: number(f"n:{state}") for state in JobState},
        tiers={
            tier: TierProgress(
                routed=number(f"tier:{tier}:routed"), finished=number(f"tier:{tier}:finished")
            )
            for tier in Tier
        },
        retries=number("retries"),
        fallbacks=number("fallbacks"),
        revived=number("revived"),
        escalations=number("escalations"),
        usage=Usage(
            prompt_tokens=number("prompt_tokens"),
            output_tokens=number("output_tokens"),
            thinking_tokens=number("thinking_tokens"),
            cached_tokens=number("cached_tokens"),
        ),
        cost_usd=number("cost_nanousd") / _NANO,
        max_cost_usd=None if cap is None else int(cap) / _NANO,
        held_usd=number("held_nanousd") / _NANO,
        short_usd=number("short_nanousd") / _NANO if paused is Pause.BUDGET else 0.0,
        created=records.moment(fields["created"]),
        version=fields.get("version"),
        metadata={
            name.removeprefix("meta:"): value
            for name, value in fields.items()
            if name.startswith("meta:")
        },
    )


def _state(fields: Mapping[str, str]) -> BatchState:
    sealed = "sealed" in fields
    if sealed and int(fields.get("finished", 0)) >= int(fields.get("total", 0)):
        return BatchState.DONE
    if "paused" in fields:
        return BatchState.PAUSED
    return BatchState.RUNNING if sealed else BatchState.OPEN
