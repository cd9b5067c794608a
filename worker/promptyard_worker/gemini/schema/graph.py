"""A schema as a graph: its subschemas, and what each leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from promptyard_worker.gemini.schema.dialect import to_json_schema

Schema = dict[str, Any]

#: Most subschemas; a schema of 400 fields in 60 models has about 700.
MOST_SUBSCHEMAS = 2_000

_BY_NAME = frozenset(
    {"$defs", "definitions", "properties", "patternProperties", "dependentSchemas", "dependencies"}
)
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_SINGLE = frozenset(
    {"not", "if", "then", "else", "items", "additionalItems", "additionalProperties", "contains"}
    | {"propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"}
)
#: Not checked by themselves, only where something refers to them.
_HELD = frozenset({"$defs", "definitions"})
#: Checked against the value itself.
_IN_PLACE = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"}
)
#: Checked against a property or item, which only one of them meets.
_ALONE = frozenset(
    {"properties", "additionalProperties", "prefixItems", "items", "additionalItems"}
)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
#: The library has these schemas in itself.
_META_SCHEMAS = ("http://json-schema.org/", "https://json-schema.org/")


class InvalidSchema(ValueError):
    """The job's own ``response_schema`` cannot be used; the message says where and why."""


def refused(place: str, why: str) -> InvalidSchema:
    """The error for a place in the schema; its message is cut to some 350 characters."""
    where = place if len(place) <= 100 else f"…{place[-99:]}"
    what = why if len(why) <= 250 else f"{why[:249]}…"
    return InvalidSchema(f"at {where or 'its root'}: {what}")


def escaped(name: str) -> str:
    """A name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def pointed(root: Schema, pointer: str) -> Any:
    """What a JSON pointer leads to; None if nowhere."""
    found: Any = root
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isascii() and key.isdigit() and len(key) < 9:
            found = found[int(key)] if int(key) < len(found) else None
        else:
            return None
    return found


@dataclass(slots=True)
class Node:
    """A subschema, and the subschemas that it leads to (by their ``id``)."""

    place: str
    schema: Schema
    #: Checked against the value itself.
    in_place: list[int] = field(default_factory=list)
    #: Checked against a property or item: of these, one.
    alone: list[int] = field(default_factory=list)
    #: Checked against a property or item: each of these besides.
    beside: list[int] = field(default_factory=list)


class Graph:
    """The subschemas of a document, by their ``id``, rewritten as JSON Schema in place."""

    def __init__(self, root: Schema) -> None:
        """Find them all; without recursion, since the schema may be deep.

        Raises:
            InvalidSchema: there are too many, or a reference leads out of the document.
        """
        self.root = root
        self.nodes: dict[int, Node] = {}
        self._anchors, self._inner_base = _names(root)
        waiting = [("", root)]
        while waiting:
            place, schema = waiting.pop()
            if id(schema) in self.nodes:
                continue
            if len(self.nodes) == MOST_SUBSCHEMAS:
                raise refused("", f"it has more than {MOST_SUBSCHEMAS} subschemas")
            to_json_schema(schema)
            node = self.nodes[id(schema)] = Node(place, schema)
            waiting.extend(self._lead(node))

    def _lead(self, node: Node) -> Iterator[tuple[str, Schema]]:
        """Note and return what a subschema leads to: place and schema."""
        for keyword, step, inner in _subschemas(node.schema):
            if keyword in _IN_PLACE:
                node.in_place.append(id(inner))
            elif keyword not in _HELD:
                (node.alone if keyword in _ALONE else node.beside).append(id(inner))
            yield node.place + step, inner
        for keyword in _REFERENCES:
            reference = node.schema.get(keyword)
            if isinstance(reference, str) and not reference.startswith(_META_SCHEMAS):
                target = self._target(reference, f"{node.place}/{keyword}")
                if isinstance(target, dict):
                    node.in_place.append(id(target))
                    yield unquote(reference)[1:], target

    def _target(self, reference: str, place: str) -> Any:
        if self._inner_base is not None:
            why = f"references are not followed where an inner schema has {self._inner_base}"
            raise refused(place, why)
        found = self._anchors.get(reference)
        if reference == "#" or reference.startswith("#/"):
            found = pointed(self.root, unquote(reference)[1:])
        if not isinstance(found, dict | bool):
            why = (
                f"{reference[:80]!r} leads to nothing inside the schema, and nothing is fetched: "
                "write it as '#/$defs/Name'"
            )
            raise refused(place, why)
        return found


def _subschemas(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    """The schemas directly inside: keyword, pointer from here, schema."""
    for keyword, value in schema.items():
        if keyword in _SINGLE and isinstance(value, dict):
            yield keyword, f"/{keyword}", value
        elif keyword in _BY_NAME and isinstance(value, dict):
            for name, inner in value.items():
                if isinstance(inner, dict):
                    yield keyword, f"/{keyword}/{escaped(name)}", inner
        elif keyword in _LISTED and isinstance(value, list):
            for index, inner in enumerate(value):
                if isinstance(inner, dict):
                    yield keyword, f"/{keyword}/{index}", inner


def _names(root: Schema) -> tuple[dict[str, Schema], str | None]:
    """The anchors of a document, and an inner ``$id``, which changes what references mean."""
    base = "id" if "draft-04" in str(root.get("$schema")) else "$id"
    anchors: dict[str, Schema] = {}
    inner = None
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        if not isinstance(value, dict):
            continue
        waiting.extend(value.values())
        for name in (value.get("$anchor"), value.get("$dynamicAnchor")):
            if isinstance(name, str):
                anchors[f"#{name}"] = value
        identifier = value.get(base)
        if isinstance(identifier, str) and identifier.startswith("#"):
            anchors[identifier] = value
        elif isinstance(identifier, str) and value is not root:
            inner = f"{base} {identifier[:80]!r}"
    return anchors, inner
