"""Answers against a job's response_schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from promptyard.job import Job
from promptyard_worker.gemini.schema import (
    MOST_CHARACTERS,
    MOST_PROBLEMS,
    InvalidSchema,
    check_schema,
    checker,
    problems,
)
from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.schema import write

SEEDS = range(0, 100_000, 997)


class Currency(StrEnum):
    """Two labels."""

    EURO = "EUR"
    DOLLAR = "USD"


class Line(BaseModel):
    """Bounds and a pattern."""

    sku: str = Field(pattern=r"^[A-Z]{3}-\d{4}$")
    quantity: int = Field(ge=1, lt=100)
    price: float | None = Field(gt=0)


class Card(BaseModel):
    """One of two ways to pay."""

    by: Literal["card"]
    digits: str = Field(min_length=4, max_length=4)


class Transfer(BaseModel):
    """The other one."""

    by: Literal["transfer"]
    days: int


class Invoice(BaseModel):
    """What people ask of a model; refers to itself."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(min_length=3)
    currency: Currency
    lines: list[Line] = Field(min_length=1, max_length=5)
    paid: Annotated[Card | Transfer, Field(discriminator="by")]
    tags: set[str] = Field(default=set(), max_length=4)
    corrects: Invoice | None = None


SCHEMA = Invoice.model_json_schema()


def _right() -> dict[str, Any]:
    line = {"sku": "ABC-1234", "quantity": 2, "price": 9.5}
    return {
        "number": "A-17",
        "currency": "EUR",
        "lines": [dict(line), dict(line), dict(line)],
        "paid": {"by": "transfer", "days": 14},
        "corrects": None,
    }


def test_right_answers_have_no_problems() -> None:
    """Answers of the stand-in, which another module writes from the same schema."""
    for seed in SEEDS:
        answer = json.loads(json.dumps(write(SCHEMA, "Order 17: three blue lamps.", Dice(seed))))
        assert problems(SCHEMA, answer) == ()


def _places(value: Any, place: str = "$") -> Iterator[tuple[str, Any, Any]]:
    """Every place inside an answer: its name, what holds it, its key."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        inner = f"{place}.{key}" if isinstance(value, dict) else f"{place}[{key}]"
        yield inner, value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key], inner)


def test_one_wrong_value_is_found_at_its_place() -> None:
    """Whatever place of an answer is spoilt, one line names it, and only it."""
    places = [place for place, _, _ in _places(_right())]
    assert len(places) == 19
    for index, place in enumerate(places):
        answer = _right()
        _, holder, key = list(_places(answer))[index]
        holder[key] = True
        found = problems(SCHEMA, answer)
        assert [line.split(": ")[0] for line in found] == [place]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"number": "A"}, '$.number: "A" breaks minLength: 3'),
        ({"number": 7}, '$.number: 7 breaks type: "string"'),
        ({"currency": "YEN"}, '$.currency: "YEN" breaks enum: "EUR", "USD"'),
        ({"lines": []}, "$.lines: an array of length 0 breaks minItems: 1"),
        ({"tags": ["a", "a"]}, "$.tags: an array of length 2 breaks uniqueItems: true"),
        ({"paid": {"by": "card", "digits": "17"}}, '$.paid.digits: "17" breaks minLength: 4'),
        ({"paid": {"by": "transfer"}}, '$.paid: lacks what is required: "days"'),
        ({"paid": "cash"}, '$.paid: "cash" is none of: object'),
        ({"corrects": 3}, "$.corrects: 3 is none of: object, null"),
        ({"total": 1, "sum": 2}, '$: has what is not allowed: "total", "sum"'),
    ],
)
def test_lines_name_place_value_and_rule(change: dict[str, Any], expected: str) -> None:
    """One change, one line."""
    assert problems(SCHEMA, {**_right(), **change}) == (expected,)


def test_several_problems_are_told_in_order() -> None:
    """Of the object first, then of what is inside."""
    answer = _right()
    del answer["number"]
    answer["lines"][1]["price"] = -3
    answer["lines"][2] = {"sku": "abc"}
    assert problems(SCHEMA, answer) == (
        '$: lacks what is required: "number"',
        "$.lines[1].price: -3 breaks exclusiveMinimum: 0",
        '$.lines[2]: lacks what is required: "quantity", "price"',
        '$.lines[2].sku: "abc" breaks pattern: "^[A-Z]{3}-\\\\d{4}$"',
    )


def test_lines_are_few_and_short() -> None:
    """However long values, names, places and lists are: they go into a record and a prompt."""
    long = "very long\n" * 200
    schema = {
        "required": [f"name {index} {long}" for index in range(100)],
        "properties": {long: {"enum": [long] * 3}, "deep": {"$ref": "#"}, "much": {"maximum": 1}},
        "additionalProperties": {"type": "array", "items": {"type": "null"}},
    }
    deep: dict[str, Any] = {long: long, "much": 10**400, "array": [long] * 5_000, long * 2: 1}
    for _ in range(30):
        deep = {"deep": deep}
    for answer in (deep, {"array": [1] * 60_000}, {str(index): 1 for index in range(60_000)}):
        found = problems(schema, answer)
        assert 0 < len(found) <= MOST_PROBLEMS
        assert all(line.startswith("$") and len(line) <= MOST_CHARACTERS for line in found)
        assert not any("\n" in line for line in found)


def test_a_schema_is_compiled_once() -> None:
    """Jobs bring their own copies, decoded from JSON; refusals are remembered too."""
    text = Job(contents="x", response_schema=Invoice).model_dump_json()
    broken = {"type": "strnig"}
    checker._compiled.cache_clear()
    for _ in range(50):
        copy = Job.model_validate_json(text).response_schema
        assert copy is not None
        check_schema(copy)
        assert problems(copy, _right()) == ()
        with pytest.raises(InvalidSchema):
            check_schema(dict(broken))
    info = checker._compiled.cache_info()
    assert (info.misses, info.hits) == (2, 148)


def test_few_schemas_are_kept() -> None:
    """A schema for every job does not fill the memory."""
    for index in range(2 * checker.MOST_KEPT):
        assert problems({"const": index}, index) == ()
    assert checker._compiled.cache_info().currsize == checker.MOST_KEPT


def test_many_threads_may_ask_at_once() -> None:
    """Also for schemas that none of them has seen."""
    wrong = {**_right(), "number": 7}

    def ask(index: int) -> bool:
        schema = {**SCHEMA, "title": str(index % 40)}
        return problems(schema, _right()) == () and len(problems(schema, wrong)) == 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(320)))
