"""Values, places and lines of a schema's problems, cut so that they fit a record and a prompt."""

from __future__ import annotations

import json
from typing import Any

#: Most characters of a line.
MOST_CHARACTERS = 200

_MOST_TEXT = 48
_MOST_LISTED = 8
_MOST_STEP = 40
_MOST_PLACE = 90
#: Beyond these many bits a number is only called large; Python refuses to write very long ones.
_MOST_BITS = 128


def line(text: str) -> str:
    """One line that can be stored, cut at the end."""
    joined = " ".join(text.splitlines()).encode("utf-8", "replace").decode()
    return joined if len(joined) <= MOST_CHARACTERS else f"{joined[: MOST_CHARACTERS - 1]}…"


def shown(value: Any) -> str:
    """A value of an answer: short ones as JSON, objects and arrays by their size."""
    if isinstance(value, str):
        cut = value if len(value) <= _MOST_TEXT else f"{value[:_MOST_TEXT]}…"
        return json.dumps(cut, ensure_ascii=False)
    if isinstance(value, dict):
        return f"an object of size {len(value)}"
    if isinstance(value, list):
        return f"an array of length {len(value)}"
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return "a very large number"
    return json.dumps(value)


def listed(values: Any) -> str:
    """The meaning of a rule: lists by their first items."""
    if isinstance(values, dict):
        return json.dumps(values, ensure_ascii=False)[:_MOST_TEXT]
    if not isinstance(values, list):
        return shown(values)
    names = [shown(value) for value in values[:_MOST_LISTED]]
    more = len(values) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def step(key: str | int) -> str:
    """A property or an item, as part of a place."""
    if isinstance(key, int):
        return f"[{key}]"
    if key.isidentifier() and len(key) <= _MOST_STEP:
        return f".{key}"
    cut = key if len(key) <= _MOST_STEP else f"{key[:_MOST_STEP]}…"
    return f"[{json.dumps(cut, ensure_ascii=False)}]"


def placed(place: str) -> str:
    """A place; of a long one the end, which says more."""
    return place if len(place) <= _MOST_PLACE else f"$…{place[1 - _MOST_PLACE :]}"
