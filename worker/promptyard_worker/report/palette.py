"""The colours of charts; the page's style sheet may give each another value (a dark page does)."""

from __future__ import annotations

from typing import Final

#: Text and axes, lines behind the data, and what marks a limit.
INK: Final = "#1f2933"
FAINT: Final = "#d5dbe1"
LIMIT: Final = "#b3261e"

#: Told apart by colour-blind readers, and by their lightness in print (after Okabe and Ito, 2008).
SERIES: Final = {
    "pro": "#20558a",
    "flash": "#e69f00",
    "lite": "#4fae8c",
    "a": "#7a4a86",
    "b": "#5fa8d3",
    "c": "#c9663d",
    "d": "#8a8f98",
}
_FREE: Final = ("a", "b", "c", "d")

#: Colour -> name of its CSS variable.
VARIABLES: Final = {
    INK: "--ink",
    FAINT: "--faint",
    LIMIT: "--limit",
    **{colour: f"--{name}" for name, colour in SERIES.items()},
}


def colour_of(name: str, place: int) -> str:
    """A tier's own colour; else that of the place among the others."""
    return SERIES.get(name) or SERIES[_FREE[place % len(_FREE)]]
