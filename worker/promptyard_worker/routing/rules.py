"""Rules: what a prompt holds, asked in order; the first rule that matches decides.

Every search is linear in the prompt: keywords and regexes run on RE2, which keeps no stack
of places to go back to. A search reads at most the two ends of a text (``reading.END_CHARS``
each, 20,000 characters in all), so a prompt of 5 MB costs no more than one of 20 kB, and an
ask that stands last is still found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Final

from pydantic import JsonValue

from promptyard.errors import RouterFileError
from promptyard_worker.routing.reading import Reading, ends_of
from promptyard_worker.routing.searches import compile_keywords, compile_regex, encoded
from promptyard_worker.routing.stage import Chunk, Destination, Fork, Opinion
from promptyard_worker.routing.stages import Modality, RuleConfig, TokenRange, When

_NOTHING: Final = Opinion()


class RulesStage:
    """Decides by the first rule that matches; asked at the root of the routes only."""

    name = "rules"

    def __init__(self, rules: Sequence[RuleConfig]) -> None:
        """Compile the rules.

        Raises:
            RouterFileError: a pattern of one of them cannot be used.
        """
        self._rules = tuple(_Rule(rule) for rule in rules)

    def opinions(self, chunk: Chunk, fork: Fork) -> list[Opinion]:
        """One opinion a job of the chunk, in order."""
        if fork.address:  # a rule names its destination in full, so it is asked once
            return [_NOTHING] * len(chunk)
        return [self._opinion(_Page(reading)) for reading in chunk.readings]

    def _opinion(self, page: _Page) -> Opinion:
        return next((rule.opinion for rule in self._rules if rule.matches(page)), _NOTHING)


class _Page:
    """A reading, and its texts as searches want them, each made when first asked for."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    @cached_property
    def _texts(self) -> list[str]:
        reading = self.reading
        return [ends_of(text.strip()) for text in (reading.text, reading.instruction) if text]

    @cached_property
    def plain(self) -> list[bytes]:
        """Text and instruction."""
        return [encoded(text) for text in self._texts]

    @cached_property
    def folded(self) -> list[bytes]:
        """Both, without the difference of upper and lower case."""
        return [encoded(text.casefold()) for text in self._texts]


Condition = Callable[[_Page], bool]


class _Rule:
    """One rule, compiled."""

    def __init__(self, config: RuleConfig) -> None:
        try:
            self._conditions = tuple(_conditions(config.when))
        except ValueError as error:
            raise RouterFileError(
                f"The rule {config.name!r} of the router file cannot be used: {error}."
            ) from error
        destination = Destination(
            route=config.route,
            tier=config.tier,
            model=config.model,
            thinking_budget=config.thinking_budget,
        )
        self.opinion = Opinion(destination=destination, rule=config.name)

    def matches(self, page: _Page) -> bool:
        """Whether all that the rule asks holds."""
        return all(holds(page) for holds in self._conditions)


def _conditions(when: When) -> Iterator[Condition]:
    """What a rule asks, the cheap questions first."""
    if when.response_schema is not None:
        yield lambda page: page.reading.asks_schema is when.response_schema
    if when.metadata:
        yield partial(_has_metadata, when.metadata)
    if when.text is not None:
        yield lambda page: _has_text(page.reading) is when.text
    if media := frozenset(when.has):
        yield partial(_has_any, media)
    if when.tokens is not None:
        yield partial(_is_as_long, when.tokens)
    if when.keywords:
        words = compile_keywords(when.keywords)
        yield lambda page: any(map(words.found_in, page.folded))
    if when.regex is not None:
        regex = compile_regex(when.regex)
        yield lambda page: any(map(regex.found_in, page.plain))
    if languages := frozenset(when.language):
        yield lambda page: page.reading.language in languages


def _has_text(reading: Reading) -> bool:
    return bool(reading.request) and not reading.request.isspace()


def _has_any(wanted: frozenset[Modality], page: _Page) -> bool:
    reading = page.reading
    return bool(wanted & reading.media) or ("code" in wanted and reading.has_code)


def _is_as_long(tokens: TokenRange, page: _Page) -> bool:
    count = page.reading.token_count
    return tokens.min <= count and (tokens.max is None or count <= tokens.max)


def _has_metadata(wanted: dict[str, JsonValue], page: _Page) -> bool:
    metadata = page.reading.metadata
    return all(key in metadata and _same(value, metadata[key]) for key, value in wanted.items())


def _same(left: JsonValue, right: JsonValue) -> bool:
    """Equal as JSON: in Python, 1 equals true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return left == right
