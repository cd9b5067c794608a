"""JSON that meets a schema."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from promptyard_worker.sim import pattern
from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.refusal import Refusal
from promptyard_worker.sim.schema import write

TOPIC = "Order 17: three blue lamps, 42 pieces at 9.50 each. Please ship by Monday! Thanks"
SEEDS = range(0, 200_000, 997)


class Kind(StrEnum):
    """Two labels."""

    FIRST = "alpha"
    SECOND = "beta"


class Line(BaseModel):
    """Bounds and a pattern."""

    sku: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")
    quantity: int = Field(ge=1, lt=100)
    price: float = Field(gt=0, le=9.99)


class Node(BaseModel):
    """A schema that refers to itself."""

    name: str = Field(min_length=3, max_length=12)
    children: list[Node] = Field(max_length=3)
    parent: Node | None = None


class Cat(BaseModel):
    """One of two shapes."""

    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    """The other shape."""

    kind: Literal["dog"]
    lines: list[Line] = Field(min_length=2, max_length=4)


class Everything(BaseModel):
    """What people put into schemas."""

    label: Kind
    seen_at: datetime
    day: date
    uid: UUID
    node: Node
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tags: set[str] = Field(min_length=2, max_length=5)
    counts: dict[str, int]
    note: str | None
    triple: tuple[int, str, bool]
    step: int = Field(multiple_of=5, ge=7, le=33)
    share: float = Field(multiple_of=0.25, ge=0, le=1)
    debt: int = Field(lt=0)
    email: str = Field(pattern=r"^\w+@\w+\.(com|org)$")


def _write(schema: dict[str, Any], seed: int = 1, topic: str = TOPIC) -> Any:
    return write(schema, topic, Dice(seed))


def test_meets_a_rich_json_schema_for_every_seed() -> None:
    """Pydantic, which did not write it, accepts every answer."""
    schema = Everything.model_json_schema()
    for seed in SEEDS:
        Everything.model_validate_json(json.dumps(_write(schema, seed)))


def test_same_prompt_same_answer() -> None:
    """The answer depends on schema, prompt and seed alone."""
    schema = Everything.model_json_schema()
    assert _write(schema, 5) == _write(schema, 5)
    assert _write(schema, 5) != _write(schema, 6)


def test_meets_the_openapi_dialect_of_gemini() -> None:
    """Upper-case types, counts as strings, nullable and propertyOrdering are understood."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "2", "maxItems": "2"},
            "a": {"type": "STRING", "nullable": True, "minLength": "5", "maxLength": "6"},
            "c": {"anyOf": [{"type": "NULL"}, {"type": "BOOLEAN"}]},
        },
        "propertyOrdering": ["c", "a", "b"],
        "required": ["a", "b", "c"],
    }
    for seed in SEEDS:
        answer = _write(schema, seed)
        assert list(answer) == ["c", "a", "b"]
        assert len(answer["b"]) == 2
        assert all(isinstance(number, float) for number in answer["b"])
        assert answer["a"] is None or 5 <= len(answer["a"]) <= 6
        assert isinstance(answer["c"], bool)


def test_takes_values_from_the_prompt() -> None:
    """The one label the prompt names, and a number of it that is in range."""
    label = {"type": "string", "enum": ["red", "blue", "green"]}
    assert {_write(label, seed) for seed in SEEDS} == {"blue"}
    assert _write({"type": "integer", "minimum": 40, "maximum": 50}) == 42
    assert "[simulated]" in _write({"type": "object", "properties": {"summary": {}}})["summary"]


def test_a_prompt_that_names_all_labels_gets_any() -> None:
    """A prompt usually lists the labels; the first one is not the answer to all."""
    label = {"type": "string", "enum": ["three", "blue", "green"]}
    assert {_write(label, seed) for seed in SEEDS} == {"three", "blue", "green"}


@pytest.mark.parametrize(
    ("schema", "accepts"),
    [
        ({"const": {"a": 1}}, lambda value: value == {"a": 1}),
        ({"type": ["null", "integer"], "minimum": 3, "maximum": 3}, lambda value: value == 3),
        ({"type": "null"}, lambda value: value is None),
        ({"allOf": [{"required": ["a"]}, {"properties": {"a": {"const": 1}}}]}, {"a": 1}.__eq__),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, lambda value: value in (1, 2)),
        ({"type": "integer", "exclusiveMinimum": 1.5, "exclusiveMaximum": 2.5}, (2).__eq__),
        ({"type": "object", "minProperties": 3}, lambda value: len(value) == 3),
        ({"required": ["a"], "additionalProperties": {"type": "boolean"}}, lambda v: "a" in v),
        ({"items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 2}, lambda v: len(v) == 2),
        ({"prefixItems": [{"const": 1}, {"const": 2}], "items": False}, [1, 2].__eq__),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 7}}}, (7).__eq__),
        ({"ref": "#/$defs/x", "defs": {"x": {"const": 7}}}, (7).__eq__),
        ({"type": "string", "format": "ipv4"}, lambda v: re.fullmatch(r"[\d.]+", v)),
    ],
)
def test_single_keywords(schema: dict[str, Any], accepts: Any) -> None:
    """Each keyword alone is met."""
    for seed in SEEDS:
        assert accepts(_write(schema, seed))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "number", "minimum": 5, "maximum": 4},
        {"type": "array", "minItems": "many"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
    ],
)
def test_a_schema_nothing_meets_is_refused(schema: dict[str, Any]) -> None:
    """400 INVALID_ARGUMENT, not an endless loop."""
    with pytest.raises(Refusal) as caught:
        _write(schema)
    assert caught.value.status == 400


def test_a_numbered_list_is_complete() -> None:
    """Where items have an ``index`` of listed values, there is one item for each."""
    index = {"type": "string", "enum": ["1", "2", "3", "4", "5"]}
    items = {"type": "object", "properties": {"index": index}, "required": ["index"]}
    schema: dict[str, Any] = {"type": "array", "items": items}
    assert [item["index"] for item in _write(schema)] == ["1", "2", "3", "4", "5"]
    assert [item["index"] for item in _write({**schema, "maxItems": 2})] == ["1", "2"]


@pytest.mark.parametrize(
    "expression",
    [
        r"^\d{3}-\d{2,4}$",
        r"[A-Fa-f0-9]{8}",
        r"(?:foo|bar)+?\.(?P<name>x|y)*",
        r"^[^0-9]{4}\s\w+$",
        r"a.c\\\[",
        r"^$",
        r"\bword\b",
        r"[]a-]{2}",
    ],
)
def test_patterns_are_sampled(expression: str) -> None:
    """The sample is found by the regular expression."""
    for seed in SEEDS:
        sample = pattern.sample(expression, Dice(seed))
        assert sample is not None
        assert re.search(expression, sample)


@pytest.mark.parametrize("expression", ["(?=a)b", r"(a)\1", "(", "[a", "a)", "*"])
def test_patterns_beyond_it_are_not_guessed(expression: str) -> None:
    """None, so that the caller writes a plain string."""
    assert pattern.sample(expression, Dice(1)) is None
