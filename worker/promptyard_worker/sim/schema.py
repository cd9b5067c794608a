"""JSON that meets a schema, in the OpenAPI dialect of Gemini or in JSON Schema.

Met are: type (also upper case and lists), enum, const, properties, required,
propertyOrdering, additionalProperties, minProperties, items, prefixItems, minItems, maxItems,
uniqueItems, number ranges, multipleOf, minLength, maxLength, pattern, format, nullable,
anyOf, oneOf, allOf, $ref and $defs. Not met: not, if/then/else, contains, dependent*.
"""

from __future__ import annotations

import json
from typing import Any, Final

from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.refusal import JsonObject, invalid
from promptyard_worker.sim.scalar import Source, integer, number, string

#: Deeper than this, only what is required is written, so that recursive schemas end.
_OPTIONAL_DEPTH: Final = 6
_MOST_DEPTH: Final = 40
_MOST_VALUES: Final = 50_000

_TYPE_HINTS: Final = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}


def write(schema: JsonObject, topic: str, dice: Dice) -> Any:
    """A value that meets ``schema``, with words and numbers of ``topic`` where they fit.

    Raises:
        Refusal: 400 for a schema that no finite value meets, or that is not a schema.
    """
    return _Writer(schema, topic, dice).value(schema, "", 0)


class _Writer:
    def __init__(self, root: JsonObject, topic: str, dice: Dice) -> None:
        self._root = root
        self._dice = dice
        self._source = Source(topic)
        self._values = 0

    def value(self, schema: Any, name: str, depth: int) -> Any:
        """A value of one schema; ``name`` is the property it is written for."""
        self._values += 1
        if depth > _MOST_DEPTH or self._values > _MOST_VALUES:
            raise invalid("The specified schema produces too many states or nests too deep.")
        schema = self._plain(schema, depth)
        if "const" in schema:
            return schema["const"]
        options = schema.get("enum")
        if isinstance(options, list) and options:
            return self._label(options)
        kind = _kind_of(schema)
        if kind == "null" or (schema.get("nullable") is True and depth > _OPTIONAL_DEPTH):
            return None
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind == "boolean":
            return self._dice.below(2) == 1
        if kind == "integer":
            return integer(schema, self._source, self._dice)
        if kind == "number":
            return number(schema, name, self._source, self._dice)
        return string(schema, name, self._source, self._dice)

    def _plain(self, schema: Any, depth: int) -> JsonObject:
        """The schema without references, alternatives and conjunctions."""
        for _ in range(_MOST_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if "$ref" in schema or "ref" in schema:
                rest = {key: schema[key] for key in schema if key not in ("$ref", "ref")}
                schema = _merge(self._target(schema.get("$ref", schema.get("ref"))), rest)
            elif branches := _listed(schema, "allOf"):
                rest = {key: schema[key] for key in schema if key != "allOf"}
                for branch in branches:
                    rest = _merge(self._plain(branch, depth), rest)
                schema = rest
            elif branches := _listed(schema, "anyOf") or _listed(schema, "oneOf"):
                rest = {key: schema[key] for key in schema if key not in ("anyOf", "oneOf")}
                schema = _merge(self._branch(branches, depth), rest)
            else:
                return schema
        raise invalid("The specified schema refers to itself without an end.")

    def _branch(self, branches: list[Any], depth: int) -> JsonObject:
        """One alternative: any that is not null, or the simplest when it is deep."""
        typed = [branch for branch in branches if isinstance(branch, dict)]
        filled = [branch for branch in typed if _kind_of(branch) != "null"]
        if not filled or depth > _OPTIONAL_DEPTH:
            return min(typed or [{}], key=_weight)
        return self._dice.pick(filled)

    def _target(self, reference: Any) -> JsonObject:
        """What ``#/$defs/Name`` points at."""
        found: Any = self._root
        path = str(reference)
        for step in path.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if key and isinstance(found, dict):
                # Gemini's own dialect calls them ``defs``.
                found = found.get(key, found.get("defs") if key == "$defs" else None)
        if not isinstance(found, dict):
            raise invalid(f"The reference {path} of the specified schema leads nowhere.")
        return found

    def _label(self, options: list[Any]) -> Any:
        """An enum value: the one that the prompt names, if it names just one."""
        filled = [option for option in options if option is not None] or options
        named = [
            option
            for option in filled
            if isinstance(option, str) and option.lower() in self._source.lower
        ]
        return named[0] if len(named) == 1 else self._dice.pick(filled)

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        found = schema.get("properties")
        properties: JsonObject = found if isinstance(found, dict) else {}
        required = _listed(schema, "required")
        extra = schema.get("additionalProperties", True)
        names = [key for key in _listed(schema, "propertyOrdering") if key in properties]
        names += [key for key in properties if key not in names]
        if depth >= _OPTIONAL_DEPTH:
            names = [key for key in names if key in required]
        names += [key for key in required if isinstance(key, str) and key not in names]
        written = {key: self.value(properties.get(key, extra), key, depth + 1) for key in names}
        least = _count(schema, "minProperties", 0)
        if not properties and isinstance(extra, dict) and depth < _OPTIONAL_DEPTH:
            least = max(least, 1)
        # ``extra`` is False where no other property is allowed: then there is no way to meet it.
        while len(written) < least and extra is not False:
            key = f"key_{len(written) + 1}"
            written[key] = self.value(extra, key, depth + 1)
        return written

    def _array(self, schema: JsonObject, name: str, depth: int) -> list[Any]:
        least = _count(schema, "minItems", 0)
        most = _count(schema, "maxItems", max(least, 3))
        first, rest = _listed(schema, "prefixItems"), schema.get("items", {})
        wanted = least if depth > _OPTIONAL_DEPTH else 1 + self._dice.below(3)
        if indices := _indices(rest):  # what is numbered is complete
            wanted = len(indices)
            most = _count(schema, "maxItems", wanted)
        length = min(max(wanted, least), most)
        if rest is False or (first and "items" not in schema and least <= len(first)):
            length = min(length, len(first))
        if first:
            length = max(length, min(len(first), most))
        unique = schema.get("uniqueItems") is True
        items: list[Any] = []
        seen: set[str] = set()
        # A set of few labels may have fewer values than asked for: so many draws, no more.
        for _ in range(length * 20 if unique else length):
            place = len(items)
            if place == length:
                break
            item = self.value(first[place] if place < len(first) else rest, name, depth + 1)
            if place < len(indices) and isinstance(item, dict):
                item["index"] = indices[place]
            mark = json.dumps(item, sort_keys=True) if unique else ""
            if not unique or mark not in seen:
                seen.add(mark)
                items.append(item)
        return items


def _indices(items: Any) -> list[Any]:
    """The values of an ``index`` that items have, where the schema lists them."""
    properties = items.get("properties") if isinstance(items, dict) else None
    index = properties.get("index") if isinstance(properties, dict) else None
    return _listed(index, "enum") if isinstance(index, dict) else []


def _kind_of(schema: JsonObject) -> str:
    """The type in lower case; of several the first that is not null."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if str(one).lower() != "null"), "null")
    if isinstance(kind, str) and kind.upper() != "TYPE_UNSPECIFIED":
        return kind.lower()
    return next((hint for key, hint in _TYPE_HINTS.items() if key in schema), "string")


def _merge(base: JsonObject, over: JsonObject) -> JsonObject:
    """Both schemas in one; properties and required names add up."""
    merged = {**base, **over}
    if isinstance(base.get("properties"), dict) and isinstance(over.get("properties"), dict):
        merged["properties"] = {**base["properties"], **over["properties"]}
    if isinstance(base.get("required"), list) and isinstance(over.get("required"), list):
        merged["required"] = [*base["required"], *over["required"]]
    return merged


def _weight(branch: JsonObject) -> int:
    """How much a branch can grow: null least, references most."""
    if "$ref" in branch or "ref" in branch:
        return 3
    return {"null": 0, "object": 2, "array": 1}.get(_kind_of(branch), 1)


def _listed(schema: JsonObject, key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _count(schema: JsonObject, key: str, default: int) -> int:
    """A count, which proto3 JSON also writes as a string."""
    try:
        return int(schema.get(key, default))
    except (TypeError, ValueError):
        raise invalid(f"Invalid value of {key} in the specified schema.") from None
