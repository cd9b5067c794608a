"""Says where an answer does not meet its schema, in short lines for a record and for a prompt.

Every verdict is jsonschema-rs': what is here only walks down the parts that it calls wrong. The
library's own lists of errors are not used: they hold every error of every alternative, however
these nest (20 s for an answer of 18 objects, one inside the other), and each repeats the value.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any
from urllib.parse import unquote

from promptyard_worker.gemini.schema.graph import Schema, escaped, pointed
from promptyard_worker.gemini.schema.judge import Judge
from promptyard_worker.gemini.schema.words import line, listed, placed, shown, step

#: Most lines of one answer.
MOST_PROBLEMS = 8

_MOST_SECONDS = 0.5
_MOST_DEPTH = 60

#: Rules that need nothing beside them, in the order in which they are told.
_RULES = (
    *("type", "enum", "const", "pattern", "minLength", "maxLength"),
    *("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    "dependentRequired",
)
#: What is named where nothing closer was found.
_UNSEEN = ("contains", "unevaluatedProperties", "unevaluatedItems", "dependencies", "if")


@dataclass(frozen=True, slots=True)
class _Spot:
    """A value of the answer against a subschema."""

    #: Of the subschema, in the schema.
    pointer: str
    schema: Any
    value: Any
    #: Of the value, in the answer.
    place: str
    depth: int = 0

    def under(self, pointer: str, schema: Any) -> _Spot:
        """The same value against another subschema."""
        return _Spot(pointer, schema, self.value, self.place, self.depth + 1)

    def inside(self, pointer: str, schema: Any, key: Any) -> _Spot:
        """A property or item against the subschema that is its own."""
        place = self.place + step(key)
        return _Spot(self.pointer + pointer, schema, self.value[key], place, self.depth + 1)


def problems_of(judge: Judge, answer: Any) -> tuple[str, ...]:
    """What is wrong with an answer that does not meet the schema; one line at least."""
    search = _Search(judge, deadline=time.monotonic() + _MOST_SECONDS)
    found: dict[str, None] = {}
    try:
        for one in search.broken(_Spot("", judge.document, answer, "$")):
            found[line(one)] = None
            if len(found) == MOST_PROBLEMS:
                break
    except _TimeUp:
        found = found or {f"$: {shown(answer)} does not meet the schema": None}
    return tuple(found)


class _TimeUp(Exception):
    """The search took too long; what it found so far must do."""


class _Search:
    """One walk down an answer, for so long."""

    def __init__(self, judge: Judge, *, deadline: float) -> None:
        self._judge = judge
        self._deadline = deadline

    def broken(self, spot: _Spot) -> Iterator[str]:
        """What is wrong with a value that does not meet its subschema; one line at least."""
        place = placed(spot.place)
        if spot.schema is False:
            yield f"{place}: is not allowed"
            return
        found = False
        if isinstance(spot.schema, dict) and spot.depth < _MOST_DEPTH:
            told = (f"{place}: {rule}" for rule in chain(self._rules(spot), self._names(spot)))
            for one in chain(told, self._parts(spot), self._others(spot)):
                found = True
                yield one
        if not found:
            schema = spot.schema if isinstance(spot.schema, dict) else {}
            names = ", ".join(name for name in _UNSEEN if name in schema) or "the schema"
            yield f"{place}: {shown(spot.value)} does not meet {names}"

    def _meets(self, spot: _Spot) -> bool:
        if time.monotonic() > self._deadline:
            raise _TimeUp
        if isinstance(spot.schema, bool):
            return spot.schema
        return self._judge.meets(spot.pointer, spot.value)

    def _rules(self, spot: _Spot) -> Iterator[str]:
        """The rules of the subschema itself that the value breaks."""
        schema, value = spot.schema, spot.value
        for rule in _RULES:
            if rule in schema and not self._judge.obeys(rule, schema[rule], value):
                yield f"{shown(value)} breaks {rule}: {listed(schema[rule])}"
                if rule == "type":  # then the other rules say no more
                    return
        if "not" in schema and self._meets(spot.under(f"{spot.pointer}/not", schema["not"])):
            yield f"{shown(value)} meets what is under not"

    def _names(self, spot: _Spot) -> Iterator[str]:
        """Properties that are missing or must not be."""
        schema, value = spot.schema, spot.value
        if not isinstance(value, dict):
            return
        missing = [name for name in schema.get("required", []) if name not in value]
        if missing:
            yield f"lacks what is required: {listed(missing)}"
        extra = []
        if schema.get("additionalProperties") is False:
            extra = [name for name in value if not self._is_named(schema, name)]
        if "propertyNames" in schema:
            names = spot.under(f"{spot.pointer}/propertyNames", schema["propertyNames"])
            extra += [name for name in value if not self._meets(replace(names, value=name))]
        if extra:
            yield f"has what is not allowed: {listed(extra)}"

    def _parts(self, spot: _Spot) -> Iterator[str]:
        """What is wrong with properties or items."""
        inner = self._properties(spot) if isinstance(spot.value, dict) else self._items(spot)
        for part in inner:
            if not self._meets(part):
                yield from self.broken(part)

    def _properties(self, spot: _Spot) -> Iterator[_Spot]:
        schema, value = spot.schema, spot.value
        named = schema.get("properties", {})
        for name in (name for name in named if name in value):
            yield spot.inside(f"/properties/{escaped(name)}", named[name], name)
        for pattern, inner in schema.get("patternProperties", {}).items():
            for name in (name for name in value if self._judge.obeys("pattern", pattern, name)):
                yield spot.inside(f"/patternProperties/{escaped(pattern)}", inner, name)
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            for name in (name for name in value if not self._is_named(schema, name)):
                yield spot.inside("/additionalProperties", others, name)

    def _is_named(self, schema: Schema, name: str) -> bool:
        patterns = schema.get("patternProperties", {})
        return name in schema.get("properties", {}) or any(
            self._judge.obeys("pattern", pattern, name) for pattern in patterns
        )

    def _items(self, spot: _Spot) -> Iterator[_Spot]:
        """The items of an array; drafts before 2020-12 call ``prefixItems`` ``items``."""
        if not isinstance(spot.value, list):
            return
        first, rest = "prefixItems", "items"
        if isinstance(spot.schema.get("items"), list):
            first, rest = "items", "additionalItems"
        leading = spot.schema.get(first, [])
        for index in range(len(spot.value)):
            if index < len(leading):
                yield spot.inside(f"/{first}/{index}", leading[index], index)
            elif rest in spot.schema:
                yield spot.inside(f"/{rest}", spot.schema[rest], index)

    def _others(self, spot: _Spot) -> Iterator[str]:
        """What other subschemas ask of the same value."""
        for other in self._together(spot):
            if not self._meets(other):
                yield from self.broken(other)
        for keyword in ("anyOf", "oneOf"):
            branches = [
                spot.under(f"{spot.pointer}/{keyword}/{index}", one)
                for index, one in enumerate(spot.schema.get(keyword, []))
            ]
            fitting = sum(self._meets(branch) for branch in branches)
            if branches and not fitting:
                yield from self._closest(spot, branches)
            elif fitting > 1 and keyword == "oneOf":
                yield f"{placed(spot.place)}: meets {fitting} of oneOf, and must meet one"

    def _together(self, spot: _Spot) -> Iterator[_Spot]:
        """The subschemas that the value must meet besides."""
        schema, at = spot.schema, spot.pointer
        target = self._target(spot)
        if target is not None:
            yield target
        for index, one in enumerate(schema.get("allOf", [])):
            yield spot.under(f"{at}/allOf/{index}", one)
        if "if" in schema:
            then = "then" if self._meets(spot.under(f"{at}/if", schema["if"])) else "else"
            if then in schema:
                yield spot.under(f"{at}/{then}", schema[then])
        if isinstance(spot.value, dict):
            for name, one in schema.get("dependentSchemas", {}).items():
                if name in spot.value:
                    yield spot.under(f"{at}/dependentSchemas/{escaped(name)}", one)

    def _target(self, spot: _Spot) -> _Spot | None:
        """What a subschema refers to, where that is a pointer."""
        reference = spot.schema.get("$ref")
        if not isinstance(reference, str) or not (reference + "/").startswith("#/"):
            return None
        pointer = unquote(reference)[1:]
        return spot.under(pointer, pointed(self._judge.document, pointer))

    def _closest(self, spot: _Spot, branches: list[_Spot]) -> Iterator[str]:
        """What is wrong by the alternative that was most likely meant."""
        ranked = [(self._distance(branch), branch) for branch in map(self._followed, branches)]
        distance, best = min(ranked, key=lambda one: one[0])
        if distance[0]:
            kinds = ", ".join(dict.fromkeys(_kind(branch.schema) for _, branch in ranked))
            yield f"{placed(spot.place)}: {shown(spot.value)} is none of: {kinds}"
            return
        unknown = self._unknown_label(spot, [branch for _, branch in ranked])
        if unknown:
            yield unknown
        else:
            yield from self.broken(best)

    def _unknown_label(self, spot: _Spot, branches: list[_Spot]) -> str | None:
        """The property by which all alternatives are told apart, if its value is none of theirs."""
        for name in spot.value if isinstance(spot.value, dict) else ():
            parts = [_properties(branch.schema).get(name) for branch in branches]
            labels = [label for part in parts for label in _labels(part)]
            if labels and all(_labels(part) for part in parts):
                value = spot.value[name]
                if not any(self._judge.obeys("const", label, value) for label in labels):
                    place = placed(spot.place + step(name))
                    return f"{place}: {shown(value)} is none of: {listed(labels)}"
        return None

    def _followed(self, branch: _Spot) -> _Spot:
        """The alternative without references in front of it."""
        while isinstance(branch.schema, dict):
            target = self._target(branch)
            if target is None or target.depth > _MOST_DEPTH:
                break
            branch = target
        return branch

    def _distance(self, branch: _Spot) -> tuple[bool, int, int]:
        """How far a value is from an alternative: its kind, its labels, its properties."""
        schema, value = branch.schema, branch.value
        if not isinstance(schema, dict):
            return True, 0, 0
        other_kind = not self._has_labels(schema, ("type", "enum", "const"), value)
        if other_kind or not isinstance(value, dict):
            return other_kind, 0, 0
        missing = sum(name not in value for name in schema.get("required", []))
        labels = wrong = 0
        for part in self._properties(branch):
            if isinstance(part.schema, dict) and not self._meets(part):
                wrong += 1
                labels += not self._has_labels(part.schema, ("enum", "const"), part.value)
        return False, labels, missing + wrong

    def _has_labels(self, schema: Schema, rules: tuple[str, ...], value: Any) -> bool:
        return all(self._judge.obeys(rule, schema[rule], value) for rule in rules if rule in schema)


def _properties(schema: Any) -> Schema:
    found: Schema = schema.get("properties", {}) if isinstance(schema, dict) else {}
    return found


def _labels(schema: Any) -> list[Any]:
    """The values that a schema lists."""
    if not isinstance(schema, dict):
        return []
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _kind(schema: Any) -> str:
    """What an alternative takes, in a word."""
    if _labels(schema):
        return listed(_labels(schema))
    kind = schema.get("type", "something else") if isinstance(schema, dict) else "nothing"
    return ", ".join(kind) if isinstance(kind, list) else str(kind)
