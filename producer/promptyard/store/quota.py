"""Calls about a model's shared quota: what the scripts admit, settle and refuse.

Written by hand because nothing published reserves requests and tokens of different weights, a
slot and a day's count all or nothing in one step, tells the time to wait and takes refunds
(docs/decisions/0007-shared-quota.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from promptyard.store import keys
from promptyard.store.call import Arg, Call
from promptyard.store.scripts import script

_NANO: Final = 1e9
#: Settled as if it had never been: the call was not made, or a 429 refused it.
VOID: Final = "void"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one model, and how strictly a minute is kept."""

    model: str
    #: Of our minute: longer than Google's by the safety.
    window_s: float
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None
    max_concurrency: int | None = None


@dataclass(frozen=True)
class Ask:
    """A call that wants to be let through."""

    job_id: str
    #: Of the lease: who asks must still hold the job.
    token: str
    #: Input tokens, as estimated.
    tokens: int
    cost_usd: float
    #: Of an earlier grant that had to wait; empty at first. The store knows it too.
    ticket: str = ""
    #: Whether a call has been made: the job cannot expire any more.
    started: bool = False


class Verdict(StrEnum):
    """What ``admit`` says of one call."""

    #: Call now.
    GO = "go"
    #: Granted, for later: wait, then ask again.
    AT = "at"
    #: Every slot is taken; the process will be woken.
    FULL = "full"
    #: The job is no longer the worker's.
    GONE = "gone"
    #: Its time was up before it started; it has ended.
    EXPIRED = "expired"
    #: Its batch, tier or model is paused, or its batch's budget is spent.
    PAUSED = "paused"
    #: The model's breaker is open.
    OPEN = "open"


@dataclass(frozen=True)
class Reply:
    """The verdict on one ask."""

    verdict: Verdict
    #: Of a grant; ``settle`` wants it.
    ticket: str = ""
    #: How long to wait, if it has to.
    wait_s: float = 0.0
    #: Whether the call tries out a model whose breaker is open.
    probe: bool = False
    #: The place that is paused, or why the breaker is open.
    detail: str = ""


def admit(
    limits: Limits,
    asks: Sequence[Ask],
    *,
    process: str,
    lease_s: float,
    retention_s: float,
    spread_s: float,
    day_reset_s: float,
    probe_s: float,
) -> Call[list[Reply]]:
    """Let calls of a model through. Gives a reply per ask, up to the first that has to wait.

    Args:
        limits: of the model.
        asks: in the order in which they came.
        process: who asks; is woken when a slot is handed over.
        lease_s: how long a slot is held unless it is renewed.
        retention_s: of a job that expires here.
        spread_s: least time in which a minute's allowance is handed out.
        day_reset_s: when the day of the quota ends next (seconds since the epoch).
        probe_s: how long a probe has the field for itself.
    """
    args: list[Arg] = [
        limits.model,
        process,
        lease_s,
        int(retention_s),
        limits.window_s,
        spread_s,
        _or_none(limits.rpm),
        _or_none(limits.tpm),
        _or_none(limits.rpd),
        _or_none(limits.max_concurrency),
        day_reset_s,
        probe_s,
    ]
    for ask in asks:
        cost = round(ask.cost_usd * _NANO)
        args += (ask.job_id, ask.token, ask.tokens, cost, int(ask.started))
    return Call(script("admit"), tuple(args), _replies)


@dataclass(frozen=True)
class Settlement:
    """How a grant ended."""

    job_id: str
    ticket: str
    #: Real input tokens; None: nobody said; VOID: the grant counts nowhere.
    tokens: int | str | None = None


def settle(limits: Limits, settlements: Sequence[Settlement]) -> Call[int]:
    """Put real tokens in the place of estimates, and give the slots back.

    Gives how many were settled; one that has been settled already is left alone.
    """
    args: list[Arg] = [
        limits.model,
        limits.window_s,
        _or_none(limits.rpm),
        _or_none(limits.tpm),
        _or_none(limits.max_concurrency),
    ]
    for one in settlements:
        args += (one.job_id, one.ticket, "" if one.tokens is None else one.tokens)
    return Call(script("settle"), tuple(args), int)


def refuse(
    limits: Limits, *, kind: str, ticket: str, retry_after_s: float | None, random: float
) -> Call[float]:
    """Tell of a 429. Gives until when all workers of the model wait (Redis' clock).

    Args:
        limits: of the model.
        kind: ``rpm``, ``tpm``, or ``unnamed``.
        ticket: of the call that was refused.
        retry_after_s: what the server asked for, if it did.
        random: 0 to 1; spreads the waits that the server did not name.
    """
    args = (
        limits.model,
        limits.window_s,
        _or_none(limits.rpm),
        _or_none(limits.tpm),
        kind,
        ticket,
        _or_none(retry_after_s),
        random,
    )
    return Call(script("refuse"), args, float)


def renew_slots(model: str, job_ids: Sequence[str], until_s: float) -> Call[int]:
    """Keep the slots of calls in flight for longer, as ``running.renew``."""
    pairs = [item for job_id in job_ids for item in (until_s, job_id)]
    return Call("ZADD", (f"{keys.quota(model)}:slots", "XX", "GT", *pairs), int)


def leave(limits: Limits, process: str) -> list[Call[int]]:
    """A process that stops waits for no slot any more; one that it was handed goes on."""
    key = keys.quota(limits.model)
    return [
        Call("ZREM", (f"{key}:line", process), int),
        Call("ZREM", (f"{key}:slots", f"hand:{process}"), int),
        settle(limits, ()),
    ]


def woken(process: str, *, timeout_s: float) -> Call[str | None]:
    """Wait for a slot that is handed over. Gives the model; None if none came."""
    return Call(
        "BRPOP",
        (keys.wake(process), timeout_s),
        lambda reply: reply[1].decode() if reply else None,
        blocks=True,
    )


def usage(model: str) -> Call[dict[str, float]]:
    """The numbers of a model's quota as the scripts keep them."""
    return Call(
        "HGETALL",
        (keys.quota(model),),
        lambda reply: {name.decode(): float(value) for name, value in reply.items()},
    )


def _replies(reply: Sequence[Any]) -> list[Reply]:
    return [_reply(*row) for row in reply[1:]]


def _reply(verdict: bytes, first: bytes = b"", second: Any = b"") -> Reply:
    kind = Verdict(verdict.decode())
    if kind is Verdict.GO:
        return Reply(kind, ticket=first.decode(), probe=bool(second))
    if kind is Verdict.AT:
        return Reply(kind, ticket=first.decode(), wait_s=float(second))
    if kind is Verdict.OPEN:
        return Reply(kind, detail=second.decode())
    return Reply(kind, detail=first.decode())


def _or_none(value: float | None) -> Arg:
    """No limit is an empty argument."""
    return "" if value is None else value
