"""Calls about the decision log where it is kept in Redis: a stream, capped."""

from __future__ import annotations

from typing import Final

from promptyard.store import keys
from promptyard.store.call import Call

#: About so many lines are kept.
LINES: Final = 100_000


def append(line: str) -> Call[str]:
    """Add a line of JSON. Gives its id."""
    args = (keys.DECISIONS, "MAXLEN", "~", LINES, "*", "line", line)
    return Call("XADD", args, lambda reply: reply.decode())


def lines(after: str = "-", *, count: int = 1000) -> Call[list[tuple[str, str]]]:
    """Lines after an id, oldest first: (id, line)."""
    start = "-" if after == "-" else f"({after}"
    return Call(
        "XRANGE",
        (keys.DECISIONS, start, "+", "COUNT", count),
        lambda reply: [(entry.decode(), fields[b"line"].decode()) for entry, fields in reply],
    )
