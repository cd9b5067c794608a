"""Schemas and answers that would stall, crash or spy: refused, or checked in a bounded time.

Without the bounds most of these do not fail but hang, or end the test run by a signal.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from promptyard_worker.gemini.schema import InvalidSchema, check_schema, problems
from promptyard_worker.gemini.schema.engine import Engine

Schema = dict[str, Any]


def _nested(depth: int, key: str, inner: Any) -> Any:
    for _ in range(depth):
        inner = {key: inner}
    return inner


def _all_of(depth: int) -> Schema:
    schema: Schema = {}
    for _ in range(depth):
        schema = {"allOf": [schema]}
    return schema


def _defs(count: int, make: Any) -> Schema:
    """A schema that refers to the first of so many definitions."""
    defs = {f"d{index}": make(index) for index in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{count}": {"type": "integer"}}}


def _ref(index: int) -> Schema:
    return {"$ref": f"#/$defs/d{index}"}


def _each_other(count: int) -> Schema:
    """Definitions that have each other as alternatives, written out differently everywhere."""
    return _defs(
        count,
        lambda one: {
            "anyOf": [
                {"properties": {"a": _ref(other)}, "description": f"{one} {other}"}
                for other in range(count)
            ],
            "type": "object",
        },
    )


REFUSED: dict[str, tuple[Schema, str]] = {
    "deep": (_nested(10_000, "items", {}), "too deep"),
    "deep, readable": (_all_of(60), "50 times"),
    "large": ({"enum": ["x" * 600_000]}, "bytes"),
    "wide": ({"properties": {f"p{index}": {} for index in range(3_000)}}, "subschemas"),
    "itself": ({"$ref": "#"}, "in a circle"),
    "itself, by an alternative": ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "in a circle"),
    "each other": (_defs(2, lambda index: _ref(1 - index)), "in a circle"),
    "a chain": (_defs(1_500, lambda index: _ref(index + 1)), "50 times"),
    "a way": (_defs(300, lambda index: {"items": _ref(index + 1)}), "deep"),
    "doubling": (
        _defs(20, lambda index: {"anyOf": [_ref(index + 1), _ref(index + 1)]}),
        "multiply",
    ),
    "doubling below": (
        _defs(
            30, lambda index: {"allOf": [{"items": _ref(index + 1)}, {"items": _ref(index + 1)}]}
        ),
        "multiply",
    ),
    "alternatives": (_each_other(20), "multiply"),
    "labels": ({"items": {"enum": [{"k": index} for index in range(3_000)]}}, "multiply"),
    "unevaluated": (
        {"properties": {"a": {"$ref": "#"}}, "unevaluatedProperties": False},
        "recursive",
    ),
    "look-around": ({"allOf": [{"pattern": f"(?!b)[ab]*{n}"} for n in range(99)]}, "multiply"),
    "a large pattern": ({"pattern": "((a{100}){100}){100}"}, "too large"),
    "a deep pattern": ({"pattern": "(" * 50_000 + ")" * 50_000}, "too large"),
    "inner base": ({"$ref": "#/$defs/a", "$defs": {"a": {"$id": "urn:a"}}}, "\\$id 'urn:a'"),
}


@pytest.mark.parametrize(("schema", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_could_stall_or_crash_is_refused(schema: Schema, why: str) -> None:
    """With a short message that says why, for checks and for answers."""
    for _ in range(2):
        with pytest.raises(InvalidSchema, match=why) as caught:
            check_schema(schema)
        assert len(str(caught.value)) < 400
    with pytest.raises(InvalidSchema):
        problems(schema, {})


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strnig"}, "at /type: no type .*: 'strnig'"),
        ({"properties": {"a": {"minimum": "2"}}}, 'at /properties/a/minimum: "2" is not of type'),
        (
            {"items": {"pattern": "("}},
            "at /items/pattern: no regular expression, or too large a one: '\\('",
        ),
        (
            {"properties": {"a": _ref(0)}},
            "at /properties/a/\\$ref: '#/\\$defs/d0' leads to nothing",
        ),
        ({"$schema": "http://example.com/mine"}, "names a dialect that is not known"),
        ({"const": "\ud800"}, "it is no JSON"),
        ({"$defs": [1], "allOf": 7}, "at /\\$defs"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(schema: Schema, message: str) -> None:
    """The user finds it without a search."""
    with pytest.raises(InvalidSchema, match=message):
        check_schema(schema)


def test_nothing_is_fetched(tmp_path: Path) -> None:
    """Neither by our own look at references nor by the library's."""
    file = tmp_path / "schema.json"
    file.write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        for reference in (url, file.as_uri(), str(file), "schema.json"):
            for keyword in ("$ref", "$dynamicRef", "$schema"):
                with pytest.raises(InvalidSchema):
                    check_schema({"properties": {"a": {keyword: reference}}, keyword: reference})
                with pytest.raises(InvalidSchema):
                    Engine(0).compile({keyword: reference})
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)+$", "(?=a)(?:[ab]*c)", "^(a*)*(?!b)c$"])
def test_patterns_take_linear_time(pattern: str) -> None:
    """Patterns that run for ever in an engine that goes back."""
    assert len(problems({"pattern": pattern}, "a" * 50_000 + "b")) == 1


def test_look_around_is_checked() -> None:
    """As pydantic 2.12 writes it for Decimal."""
    schema = {"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"}
    assert problems(schema, "-012.50") == ()
    assert len(problems(schema, "-.")) == 1
    assert len(problems(schema, "12,5")) == 1


def test_a_deep_answer_is_refused() -> None:
    """Deeper than what is read from JSON; a recursive schema would follow it down."""
    for schema in ({"items": {"$ref": "#"}}, {}):
        array: list[Any] = []
        for _ in range(20_000):
            array = [array]
        assert problems(schema, array) == ("$: nests more than 201 levels deep",)
        # taken apart here, since Python would do it by recursion
        while array:
            array = array.pop()


def test_a_recursive_schema_is_followed_as_deep_as_json_goes() -> None:
    """Through as many references and alternatives at each level as are allowed."""
    schema = _defs(20, lambda index: {"anyOf": [_ref(index + 1), {"type": "null"}]})
    schema["$defs"]["d20"] = {"properties": {"a": _ref(0)}, "required": ["a"]}
    assert problems(schema, _nested(200, "a", None)) == ()
    assert len(problems(schema, _nested(199, "a", {}))) == 1


def test_alternatives_in_alternatives_are_told_quickly() -> None:
    """The library's own list of errors has 2 ** 40 entries here."""
    branches = [{"properties": {"a": {"$ref": "#"}}, "required": [name]} for name in "bc"]
    found = problems({"anyOf": branches}, _nested(40, "a", {}))
    assert found[:2] == (
        '$: lacks what is required: "b"',
        '$.a: lacks what is required: "b"',
    )


def test_a_recursive_union_is_no_attack() -> None:
    """Fourteen models that hold each other, written out at every use as pydantic does."""
    union = {"oneOf": [_ref(index) for index in range(14)]}
    schema = _defs(
        14,
        lambda index: {
            "type": "object",
            "properties": {
                "kind": {"const": f"k{index}"},
                "left": {**union, "title": "Left"},
                "right": {"anyOf": [union, {"type": "null"}]},
            },
            "required": ["kind"],
        },
    )
    answer: dict[str, Any] = {"kind": "k0"}
    for index in range(60):
        answer = {"kind": "k0", "left": {"kind": f"k{index % 14}", "right": answer}}
    assert problems(schema, answer) == ()
    answer["left"]["left"] = {"kind": "k3", "right": {"kind": "k99"}}
    (found,) = problems(schema, answer)
    assert found.startswith('$.left.left.right.kind: "k99" is none of: "k0", "k1", ')


def test_values_that_are_hardly_json() -> None:
    """Numbers of any size, no numbers, half surrogates: a line, not an exception."""
    schema = {"maximum": 1, "items": {"maximum": 1}, "additionalProperties": {"maxLength": 0}}
    assert problems(schema, 10**400) == ("$: a very large number breaks maximum: 1",)
    assert problems(schema, [10**400]) == ("$[0]: a very large number breaks maximum: 1",)
    for number in (float("nan"), float("inf")):
        assert "too large" in problems(schema, [number])[0]
    assert "surrogate" in problems(schema, {"a": "\ud800"})[0]
