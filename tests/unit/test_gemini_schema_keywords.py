"""Keyword by keyword, and in the dialects that users write."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from promptyard_worker.gemini.schema import problems


@pytest.mark.parametrize(
    ("schema", "right", "wrong", "line"),
    [
        ({"not": {"type": "null"}}, 1, None, "$: null meets what is under not"),
        ({"contains": {"const": 1}}, [1], [2], "$: an array of length 1 does not meet contains"),
        (
            {"propertyNames": {"maxLength": 1}},
            {"a": 1},
            {"ab": 1},
            '$: has what is not allowed: "ab"',
        ),
        (
            {"prefixItems": [{}, {"const": 2}], "items": False},
            [1, 2],
            [1, 2, 3],
            "$[2]: is not allowed",
        ),
        (
            {"patternProperties": {"^x": {"const": 1}}},
            {"x": 1, "y": 2},
            {"xy": 2},
            "$.xy: 2 breaks const: 1",
        ),
        (
            {"additionalProperties": {"type": "null"}},
            {"a": None},
            {"a": 1},
            '$.a: 1 breaks type: "null"',
        ),
        (
            {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
            1,
            3,
            "$: meets 2 of oneOf, and must meet one",
        ),
        (
            {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
            {},
            {"a": 1},
            '$: lacks what is required: "b"',
        ),
        (
            {"dependentSchemas": {"a": {"required": ["b"]}}},
            {"b": 1},
            {"a": 1},
            '$: lacks what is required: "b"',
        ),
        ({"allOf": [{"minimum": 1}, {"multipleOf": 2}]}, 2, 3, "$: 3 breaks multipleOf: 2"),
        ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"const": 1}}}, 1, 2, "$: 2 breaks const: 1"),
        (
            {"$ref": "#n", "$defs": {"a": {"$anchor": "n", "const": 1}}},
            1,
            2,
            "$: 2 does not meet the schema",
        ),
        (
            {"properties": {"a b": {"const": 1}}},
            {"a b": 1},
            {"a b": 2},
            '$["a b"]: 2 breaks const: 1',
        ),
        (
            {"properties": {"a/~": {"const": 1}}},
            {"a/~": 1},
            {"a/~": 2},
            '$["a/~"]: 2 breaks const: 1',
        ),
        ({"properties": {"a": False}}, {}, {"a": 1}, "$.a: is not allowed"),
        ({"pattern": "^(?!no)"}, "yes", "no", '$: "no" breaks pattern: "^(?!no)"'),
    ],
)
def test_keywords(schema: dict[str, Any], right: Any, wrong: Any, line: str) -> None:
    """What meets it and what does not, keyword by keyword; unknown ones say nothing."""
    assert problems(schema, right) == ()
    assert problems(schema, wrong) == (line,)


def test_format_is_not_asserted() -> None:
    """A date without an offset, as pydantic takes it, costs no repair."""
    assert problems({"type": "string", "format": "date-time"}, "2026-01-02 10:00") == ()


@pytest.mark.parametrize(
    ("dialect", "answer", "right"),
    [
        ("https://json-schema.org/draft/2020-12/schema", [1, "x"], True),
        ("http://json-schema.org/draft-07/schema#", [1, "x"], False),
    ],
)
def test_the_draft_is_what_the_schema_names(dialect: str, answer: Any, right: bool) -> None:
    """``items`` as a list is draft 7's; ``prefixItems`` is unknown there."""
    schema = {"$schema": dialect, "prefixItems": [{"type": "integer"}, {}]}
    if not right:
        schema["items"] = [{}, {"type": "integer"}]
    assert (problems(schema, answer) == ()) is right


def test_geminis_own_dialect_is_read() -> None:
    """Types in capitals, counts as text, nullable: as batch files for Gemini have them."""
    schema: dict[str, Any] = {
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING", "nullable": True, "enum": ["x", "y"]},
            "sizes": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "2"},
            "either": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
            "any": {"type": "TYPE_UNSPECIFIED"},
        },
        "propertyOrdering": ["sizes", "name"],
        "required": ["name"],
    }
    before = deepcopy(schema)
    assert problems(schema, {"name": None, "sizes": [1, 2], "either": None, "any": []}) == ()
    assert problems(schema, {"name": "z", "sizes": [1], "either": "a"}) == (
        '$.name: "z" breaks enum: "x", "y", null',
        "$.sizes: an array of length 1 breaks minItems: 2",
        '$.either: "a" is none of: number, boolean, null',
    )
    assert schema == before


def test_unknown_keywords_say_nothing() -> None:
    """Nor do those that are Gemini's or a generator's own."""
    schema = {"madeUp": 1, "propertyOrdering": ["a"], "example": 3, "discriminator": {}}
    assert problems(schema, {"b": 1}) == ()
