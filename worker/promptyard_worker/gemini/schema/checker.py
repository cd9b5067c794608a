"""A schema's checkers, compiled once and kept.

A batch has one schema for 100,000 jobs, each of which brings its own copy. The key is the schema
as JSON with its names as they come, not sorted: pydantic writes it in 3 us where sorted
``json.dumps`` takes 15, and the same schema in another order is only compiled once more (0.3 ms).
For a schema of 1 kB and an answer of 700 bytes that meets it, ``problems`` takes 9 us in all.

Safe to use from many threads: what is compiled never changes, and two threads that look for the
same new schema at once compile it twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from promptyard_worker.gemini.schema.bounds import bound
from promptyard_worker.gemini.schema.engine import Engine
from promptyard_worker.gemini.schema.graph import InvalidSchema, refused
from promptyard_worker.gemini.schema.judge import Judge
from promptyard_worker.gemini.schema.problems import problems_of

#: Schemas compiled and kept: about 100 kB each.
MOST_KEPT = 64
#: Largest schema, as JSON.
MOST_BYTES = 500_000
#: Deepest answer, as pydantic's JSON reader has it; a deeper one could overflow the stack.
MOST_LEVELS = 201


def check_schema(schema: Mapping[str, Any]) -> None:
    """Make sure that answers can be checked by a schema; cheap when it was seen before.

    Raises:
        InvalidSchema: it is no JSON Schema, or one that could stall or crash a worker.
    """
    _checker(schema)


def problems(schema: Mapping[str, Any], parsed: Any) -> tuple[str, ...]:
    """What is wrong with an answer: nothing, or up to ``MOST_PROBLEMS`` lines of place and rule.

    Args:
        schema: the job's ``response_schema``.
        parsed: the answer, read from JSON.

    Raises:
        InvalidSchema: as ``check_schema``.
    """
    return _checker(schema).problems(parsed)


class _Checker:
    """A compiled schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._engine = Engine(bound(schema))
        self._schema = schema
        self._validator = self._engine.compile(schema)
        self._judge: Judge | None = None

    def problems(self, parsed: Any) -> tuple[str, ...]:
        flaw = _flaw(parsed)
        if flaw:
            return (flaw,)
        try:
            if self._validator.is_valid(parsed):
                return ()
            self._judge = self._judge or Judge(self._schema, self._engine)
            return problems_of(self._judge, parsed)
        except UnicodeEncodeError:
            return ("$: holds half of a surrogate pair, which is no text",)


def _checker(schema: Mapping[str, Any]) -> _Checker:
    try:
        text = to_json(dict(schema), inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise refused("", f"it is no JSON, or too deep: {error}") from None
    found = _compiled(text)
    if isinstance(found, str):
        raise InvalidSchema(found)
    return found


@lru_cache(maxsize=MOST_KEPT)
def _compiled(text: bytes) -> _Checker | str:
    """The checker of a schema, or why there is none: refusals are remembered too."""
    try:
        if len(text) > MOST_BYTES:
            raise refused("", f"it has {len(text)} bytes, more than {MOST_BYTES}")
        return _Checker(_read(text))
    except InvalidSchema as error:
        return str(error)


def _read(text: bytes) -> dict[str, Any]:
    """A copy of the schema that is ours."""
    try:
        schema: dict[str, Any] = from_json(text)
    except ValueError as error:
        raise refused("", f"it cannot be read: {error}") from None
    return schema


def _flaw(parsed: Any) -> str | None:
    """What no JSON text of a sound answer holds, and the validator would take or die of."""
    level = [parsed]
    for _ in range(MOST_LEVELS + 1):
        inner = []
        for value in level:
            kind = type(value)
            if kind is dict:
                inner.extend(value.values())
            elif kind is list:
                inner.extend(value)
            elif kind is float and not isfinite(value):
                return "$: holds a number that is too large (1e309 and above)"
        if not inner:
            return None
        level = inner
    return f"$: nests more than {MOST_LEVELS} levels deep"
