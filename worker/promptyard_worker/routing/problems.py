"""A problem of a router file: where, what, and what would be right."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from promptyard_worker.routing.config import RouterConfig

#: Keys and list positions from the root.
KeyPath = tuple[str | int, ...]

#: What to write where a key is missing.
_REMEDIES = {
    "version": "Begin the file with `version: 1`.",
    "default": "Name the tier of prompts that no route takes: `default: flash`.",
    "routes": "List at least one route with name, tier, model and utterances.",
    "models": "List the models that the routes call, with tier, price and limits.",
    "price": "Give it in USD per million tokens: `price: {input: 0.30, output: 2.50}`.",
    "input": "Give it in USD per million tokens.",
    "output": "Give it in USD per million tokens.",
    "above_tokens": "Say above how many prompt tokens the long-context price applies.",
    "context_window": "Give the most prompt tokens the model reads, such as 1048576.",
    "timeout_s": "Say how many seconds one call may take.",
    "tier": "Name the tier: pro, flash or lite.",
    "model": "Name one of the models of this file.",
    "name": "Give the route a name.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    path: KeyPath
    #: What is wrong; a sentence.
    what: str
    #: What would be right; a sentence, or nothing.
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{render(self.path)}: {self.what}" if self.path else self.what
        return f"{text} {self.remedy}".rstrip()


def render(path: KeyPath) -> str:
    """``("routes", 0, "tier")`` as ``routes[0].tier``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def did_you_mean(wrong: object, valid: Iterable[str]) -> str:
    """The nearest valid name, and all of them."""
    names = list(valid)
    near = _nearest(wrong, names)
    guess = f"Did you mean {near!r}? " if near else ""
    return f"{guess}Valid: {', '.join(names)}."


def problems_of(error: ValidationError) -> list[Problem]:
    """What pydantic found, in the words of a router file."""
    found: list[dict[str, Any]] = [dict(one) for one in error.errors(include_url=False)]
    # A misspelt key is one mistake, not an unknown key and a missing one.
    meant = {_meant(one["loc"]) for one in found if one["type"] == "extra_forbidden"}
    return [_problem(one) for one in found if one["type"] != "missing" or one["loc"] not in meant]


def _meant(path: KeyPath) -> KeyPath | None:
    """The valid key that a misspelt one stands for."""
    near = _nearest(path[-1], _keys_at(path[:-1]))
    return (*path[:-1], near) if near else None


def _nearest(wrong: object, valid: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(str(wrong), list(valid), n=1, cutoff=0.5)
    return near[0] if near else None


def _problem(found: dict[str, Any]) -> Problem:
    # pydantic marks an error in a dict's key by a last step of its own.
    path: KeyPath = tuple(step for step in found["loc"] if step != "[key]")
    kind, value = found["type"], found["input"]
    last = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        return Problem(path, "unknown key.", did_you_mean(last, _keys_at(path[:-1])))
    if kind == "missing":
        return Problem(path, "is missing.", _REMEDIES.get(last, ""))
    if kind == "enum":
        names = str(found["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return Problem(path, f"unknown {last} {value!r}.", did_you_mean(value, names))
    if kind == "literal_error":
        return Problem(path, f"cannot be {value!r}.", f"Write {found['ctx']['expected']}.")
    if kind == "string_type":
        return Problem(path, f"{value!r} is not a text.", "Put it in quotes.")
    message = str(found["msg"]).removeprefix("Value error, ")
    return Problem(path, f"{message} (it is {value!r})." if _short(value) else f"{message}.")


def _short(value: object) -> bool:
    return isinstance(value, str | int | float | None) and len(str(value)) <= 60


def _keys_at(path: KeyPath) -> list[str]:
    """Valid keys of the mapping at a path of the schema."""
    annotation: object = RouterConfig
    for step in path:
        schema = _schema_in(annotation)
        if schema is not None and isinstance(step, str) and step in schema.model_fields:
            annotation = schema.model_fields[step].annotation
        # Otherwise the step is a list position or a name in a dict: same annotation.
    schema = _schema_in(annotation)
    return list(schema.model_fields) if schema else []


def _schema_in(annotation: object) -> type[BaseModel] | None:
    """The model inside ``X``, ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_schema_in(argument) for argument in get_args(annotation))
    return next((schema for schema in found if schema), None)
