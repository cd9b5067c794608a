"""Calls about the judge's allowance: what all classify workers may ask of it, and its bill."""

from __future__ import annotations

import uuid
from typing import Final

from promptyard.store import keys
from promptyard.store.call import Arg, Call
from promptyard.store.scripts import script

_NANO: Final = 1e9


def take_call(*, calls_per_minute: int, max_cost_usd_per_day: float | None) -> Call[bool]:
    """Take one call; False if there were as many in the last 60 s, or the bill is that high."""
    most = "" if max_cost_usd_per_day is None else round(max_cost_usd_per_day * _NANO)
    return Call(script("judge"), (*_place("ask"), calls_per_minute, most), bool)


def pay(cost_usd: float) -> Call[float]:
    """Put a cost on today's bill (a negative one takes it off); gives the bill in US dollars."""
    arguments = (*_place("pay"), round(cost_usd * _NANO))
    return Call(script("judge"), arguments, lambda nano: int(nano) / _NANO)


def bill(now_s: float) -> Call[float]:
    """What the judge has cost on the day of ``now_s``, in US dollars."""
    key = keys.judge_bill(int(now_s // 86400))
    return Call("GET", (key,), lambda nano: int(nano or 0) / _NANO)


def _place(verb: str) -> tuple[Arg, ...]:
    """The keys, the verb, and an id by which the script knows a question sent again."""
    return (keys.JUDGE_CALLS, keys.JUDGE_PAYMENTS, keys.JUDGE_BILL, verb, uuid.uuid4().hex)
