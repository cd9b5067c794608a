"""Numbers and strings that meet a schema."""

from __future__ import annotations

from functools import cached_property
from math import ceil, floor
from typing import Final

from promptyard_worker.sim import pattern
from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.refusal import JsonObject, invalid
from promptyard_worker.sim.text import HEAD_CHARS, PREFIX, extract, numbers_of, words_of

#: Without bounds, numbers lie in 0..100.
_SPAN: Final = 100

#: Property names that ask for a sentence rather than for a word.
_PROSE: Final = (
    "summary",
    "description",
    "reason",
    "answer",
    "explanation",
    "text",
    "content",
    "comment",
    "message",
    "rationale",
    "analysis",
)
_SHARES: Final = ("confidence", "probability", "score", "ratio")


class Source:
    """The prompt, taken apart only as far as a schema needs."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    @cached_property
    def lower(self) -> str:
        """The start of the prompt in lower case."""
        return self._topic[:HEAD_CHARS].lower()

    @cached_property
    def words(self) -> list[str]:
        """The words at the start of the prompt."""
        return words_of(self._topic)

    @cached_property
    def numbers(self) -> list[float]:
        """The numbers at the start of the prompt."""
        return numbers_of(self._topic)

    @cached_property
    def answer(self) -> str:
        """The extractive answer, marked as simulated."""
        return extract(self._topic)


def integer(schema: JsonObject, source: Source, dice: Dice) -> int:
    """A whole number in the schema's range: of the prompt if one fits."""
    low, high = _range(schema, whole=True)
    step = max(1, round(_bound(schema, "multipleOf") or 1))
    first, last = ceil(low / step), floor(high / step)
    if first > last:
        raise invalid("The specified schema has an empty range.")
    for known in source.numbers:
        if low <= known <= high and known % step == 0:
            return int(known)
    return (first + dice.below(last - first + 1)) * step


def number(schema: JsonObject, name: str, source: Source, dice: Dice) -> float:
    """A number in the schema's range: of the prompt if one fits.

    Without a range, a confidence or score lies in 0..1.
    """
    if any(share in name.lower() for share in _SHARES):
        schema = {"minimum": 0, "maximum": 1, **schema}
    step = _bound(schema, "multipleOf")
    low, high = _range(schema)
    if step is not None and step > 0:
        first, last = ceil(low / step), floor(high / step)
        if first > last:
            raise invalid("The specified schema has an empty range.")
        return round((first + dice.below(last - first + 1)) * step, 9)
    if low > high:
        raise invalid("The specified schema has an empty range.")
    for known in source.numbers:
        if low < known < high:
            return known
    # Neither end is drawn, since it may be exclusive.
    drawn = low + (high - low) * (0.01 + 0.98 * dice.uniform())
    rounded = round(drawn, 2)
    return rounded if low < rounded < high else drawn


def string(schema: JsonObject, name: str, source: Source, dice: Dice) -> str:
    """A string of the schema's format, pattern and length."""
    shape = schema.get("format")
    if isinstance(shape, str) and (formatted := _formatted(shape, dice)) is not None:
        return formatted
    shape = schema.get("pattern")
    if isinstance(shape, str) and (sampled := pattern.sample(shape, dice)) is not None:
        return sampled
    least = int(_bound(schema, "minLength") or 0)
    most = _bound(schema, "maxLength")
    text = _words(name, source, dice, room=most is None or most >= 40)
    while len(text) < least:
        text += " " + text if text else "x"
    return text if most is None else text[: int(most)]


def _words(name: str, source: Source, dice: Dice, *, room: bool) -> str:
    """A sentence or a few words of the prompt, as the property's name suggests."""
    name = name.lower()
    if room and (not name or any(prose in name for prose in _PROSE)):
        return source.answer
    words = source.words
    if not words:
        return "simulated"
    start = dice.below(len(words))
    found = " ".join(words[start : start + 1 + dice.below(3)])
    return PREFIX + found if room else found


def _formatted(shape: str, dice: Dice) -> str | None:
    """A string of a JSON Schema format, or None for a format not known here."""
    day, month = 1 + dice.below(28), 1 + dice.below(12)
    date, time = f"2026-{month:02}-{day:02}", f"{dice.below(24):02}:{dice.below(60):02}:00Z"
    match shape:
        case "date-time":
            return f"{date}T{time}"
        case "date":
            return date
        case "time":
            return time
        case "duration":
            return f"P{day}D"
        case "email" | "idn-email":
            return f"simulated{day}@example.com"
        case "uri" | "url" | "iri" | "uri-reference":
            return f"https://example.com/simulated/{day}"
        case "hostname":
            return f"host{day}.example.com"
        case "uuid":
            digits = f"{dice.below(1 << 62):016x}{dice.below(1 << 62):016x}"
            return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
        case "ipv4":
            return f"192.0.2.{day}"
        case "ipv6":
            return f"2001:db8::{day}"
        case _:
            return None


def _range(schema: JsonObject, *, whole: bool = False) -> tuple[float, float]:
    """Lowest and highest value; for whole numbers an exclusive bound moves to the next one."""
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    if (above := _bound(schema, "exclusiveMinimum")) is not None:
        above = floor(above) + 1 if whole else above
        low = above if low is None else max(low, above)
    if (below := _bound(schema, "exclusiveMaximum")) is not None:
        below = ceil(below) - 1 if whole else below
        high = below if high is None else min(high, below)
    if low is None:
        low = 0.0 if high is None or high >= 0 else high - _SPAN
    return low, low + _SPAN if high is None else high


def _bound(schema: JsonObject, key: str) -> float | None:
    """A bound, which proto3 JSON also writes as a string; a draft-4 boolean is none."""
    found = schema.get(key)
    if found is None or isinstance(found, bool):
        return None
    try:
        return float(found)
    except (TypeError, ValueError):
        raise invalid(f"Invalid value of {key} in the specified schema.") from None
