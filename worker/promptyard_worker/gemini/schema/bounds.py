"""Bounds on what a schema can cost, checked before it is compiled.

The schema is a user's, so it may be hostile, and jsonschema-rs holds the GIL while it checks.
Measured on 0.60.3: a chain of 50,000 references overflows the stack and ends the process; twenty
definitions, each ``anyOf`` the next one twice, check one number a million times; twenty that have
each other as alternatives did not end in five minutes. What could do so is refused, with its place.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import to_json

from promptyard_worker.gemini.schema.graph import Graph, InvalidSchema, Node, Schema, refused

#: Most references and alternatives one inside the other at one place of the answer.
MOST_IN_PLACE = 50
#: Most subschemas on a way through the schema.
MOST_DEPTH = 200
#: Most checks of one value, at some 15 ns: where alternatives nest, they multiply.
MOST_CHECKS = 10_000

_PATTERN, _SPECIAL_PATTERN = 20, 400
#: What a pattern of the linear engine cannot have, or nearly: look-around, references back, ...
_SPECIAL = re.compile(r"\(\?[^:]|[*+?}]\+|\\(?![dDwWsSbBnrtfvuxpPc])[A-Za-z1-9]")


def bound(root: Schema) -> int:
    """Check what a schema can cost; it is rewritten in place as JSON Schema that costs less.

    Returns:
        How many regular expressions it holds.

    Raises:
        InvalidSchema: it is too large, or refers to itself or elsewhere in a way that could
            stall or crash what checks an answer by it.
    """
    graph = Graph(root)
    try:
        _Bounds(graph).check()
    except InvalidSchema:
        if not _share(graph):
            raise
        graph = Graph(root)
        _Bounds(graph).check()
    return sum(len(_patterns(node.schema)) for node in graph.nodes.values())


class _Bounds:
    def __init__(self, graph: Graph) -> None:
        self._root = id(graph.root)
        self._nodes = graph.nodes
        #: Longest way in place, and checks in place.
        self._here: dict[int, tuple[int, int]] = {}
        #: Checks here and below.
        self._checks: dict[int, int] = {}
        self._open: set[int] = set()
        self._returns = False

    def check(self) -> None:
        for key in self._nodes:
            self._in_place(key, 0)
        self._all(self._root, 0)
        again = next((node for node in self._nodes.values() if _looks_again(node)), None)
        if self._returns and again is not None:
            why = "unevaluatedProperties and unevaluatedItems take too long in a recursive schema"
            raise refused(again.place, why)

    def _in_place(self, key: int, depth: int) -> tuple[int, int]:
        """Longest way through references and alternatives on one value, and all checks there."""
        if key in self._here:
            return self._here[key]
        node = self._nodes[key]
        longest, checks = 0, _own_checks(node)
        for one in node.in_place if depth < MOST_IN_PLACE else ():
            length, more = self._in_place(one, depth + 1)
            longest, checks = max(longest, length), checks + more
        if depth == MOST_IN_PLACE or longest == MOST_IN_PLACE:
            why = (
                f"references and alternatives lead to each other more than {MOST_IN_PLACE} times, "
                "or in a circle, without going into a property or an item"
            )
            raise refused(node.place, why)
        self._here[key] = longest + 1, checks
        return self._here[key]

    def _all(self, key: int, depth: int) -> int:
        """Most checks of one value and of those inside it on one way down.

        Where the schema comes back to itself, what is below counts no more: there the library
        remembers for each object and array what came out.
        """
        if key in self._checks:
            return self._checks[key]
        if key in self._open:
            self._returns = True
            return self._here[key][1]
        node = self._nodes[key]
        if depth == MOST_DEPTH:
            raise refused(node.place, f"it nests more than {MOST_DEPTH} subschemas deep")
        self._open.add(key)
        checks = _own_checks(node)
        for one in node.in_place:
            # what looks for the unevaluated goes through all that is in place once more
            checks += self._all(one, depth + 1) * (2 if _looks_again(node) else 1)
        for one in node.beside:
            checks += self._all(one, depth + 1)
        below = [self._all(one, depth + 1) for one in node.alone]
        checks += max(below, default=0)
        self._open.remove(key)
        if checks > MOST_CHECKS:
            why = (
                "its references and alternatives multiply: one value could need more than "
                f"{MOST_CHECKS} checks"
            )
            raise refused(node.place, why)
        self._checks[key] = checks
        return checks


def _own_checks(node: Node) -> int:
    """The checks of a subschema's own rules, in steps of 15 ns.

    Labels are looked up, but for objects and arrays, which are compared one by one.
    """
    schema, checks = node.schema, 1
    labels = schema.get("enum")
    for label in (*(labels if isinstance(labels, list) else ()), schema.get("const")):
        if isinstance(label, dict | list):
            checks += 2 * len(to_json(label))
    for pattern in _patterns(schema):
        checks += _SPECIAL_PATTERN if _SPECIAL.search(pattern) else _PATTERN
    return checks


def _patterns(schema: Schema) -> list[str]:
    named = schema.get("patternProperties")
    patterns = list(named) if isinstance(named, dict) else []
    own = schema.get("pattern")
    return [*patterns, own] if isinstance(own, str) else patterns


def _looks_again(node: Node) -> bool:
    return "unevaluatedProperties" in node.schema or "unevaluatedItems" in node.schema


def _share(graph: Graph) -> bool:
    """Give alternatives that are written out in several places one place of their own.

    pydantic writes a recursive union out wherever it is used. The library remembers what came
    out at a reference that leads back; written out, a union of twelve models that hold each
    other is none, and would be refused.

    Returns:
        Whether there were any.
    """
    held = graph.root.get("$defs", {})
    groups: dict[bytes, list[tuple[Schema, str]]] = {}
    for node in graph.nodes.values():
        for keyword in ("anyOf", "oneOf"):
            text = to_json([keyword, node.schema.get(keyword)])
            if b'"$ref"' in text and isinstance(node.schema.get("allOf", []), list):
                groups.setdefault(text, []).append((node.schema, keyword))
    shared: dict[str, Any] = {}
    for number, places in enumerate(group for group in groups.values() if len(group) > 1):
        name = f"promptyard:{number}"
        shared[name] = {places[0][1]: places[0][0][places[0][1]]}
        for schema, keyword in places:
            del schema[keyword]
            schema["allOf"] = [*schema.get("allOf", []), {"$ref": f"#/$defs/{name}"}]
    if isinstance(held, dict):
        graph.root["$defs"] = {**held, **shared}
    return bool(shared)
