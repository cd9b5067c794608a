"""A problem of a router file: where, what, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.schema import KeyPath, keys_at, nearest, range_at

#: What to write where a key is missing.
_REMEDIES: Final = {
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
    "name": "Give it a name.",
    "when": "Say which prompts it takes: `when: {keywords: [refund]}`.",
    "file": "Name the file that `promptyard fit` wrote.",
    "difficulty": "Say from which difficulty on, 0 to 1.",
    "thinking_budget": "Give it in tokens; -1 is dynamic.",
    "method": "Write `platt` or `isotonic`.",
    "params": "Copy them from what the fit printed.",
    "utterances": "List some prompts that should go there; ten or more work well.",
}
#: Types that pydantic misses, and how to write them.
_KINDS: Final = {
    "string_type": ("is not a text.", "Put it in quotes."),
    "tuple_type": ("is not a list.", "Write `[one, two]`, or one `- ` a line."),
    "model_type": ("is not keys and values.", "Write one `key: value` a line below it."),
    "dict_type": ("is not keys and values.", "Write one `key: value` a line below it."),
    "float_type": ("is not a number.", ""),
    "float_parsing": ("is not a number.", ""),
    "int_type": ("is not a whole number.", ""),
    "int_parsing": ("is not a whole number.", ""),
    "int_from_float": ("is not a whole number.", ""),
    "bool_type": ("is neither true nor false.", ""),
    "bool_parsing": ("is neither true nor false.", ""),
}
_RANGES: Final = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or odd."""

    path: KeyPath
    #: What is wrong; a sentence.
    what: str
    #: What would be right; a sentence, or nothing.
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{render(self.path)}: {self.what}" if self.path else self.what
        return f"{text} {self.remedy}".rstrip()


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and the line of the file where it is."""

    line: int
    problem: Problem

    def __str__(self) -> str:
        return f"{self.line}: {self.problem}"


def render(path: KeyPath) -> str:
    """``("routes", 0, "tier")`` as ``routes[0].tier``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def did_you_mean(wrong: object, valid: Iterable[str]) -> str:
    """The nearest valid name, and all of them."""
    names = list(valid)
    near = nearest(wrong, names)
    guess = f"Did you mean {near!r}? " if near else ""
    return f"{guess}Valid: {', '.join(names)}." if names else ""


def problems_of(error: ValidationError, root: type[BaseModel] = RouterConfig) -> list[Problem]:
    """What pydantic found, in the words of a router file.

    Args:
        error: of validating the file's content.
        root: the schema of the file.
    """
    found: list[dict[str, Any]] = [dict(one) for one in error.errors(include_url=False)]
    # A misspelt key is one mistake, not an unknown key and a missing one.
    meant = {_meant(one["loc"], root) for one in found if one["type"] == "extra_forbidden"}
    return [
        _problem(one, root) for one in found if one["type"] != "missing" or one["loc"] not in meant
    ]


def _meant(path: KeyPath, root: type[BaseModel]) -> KeyPath | None:
    """The valid key that a misspelt one stands for."""
    near = nearest(path[-1], keys_at(path[:-1], root))
    return (*path[:-1], near) if near else None


def _problem(found: dict[str, Any], root: type[BaseModel]) -> Problem:
    # pydantic marks an error in a dict's key by a last step of its own.
    path: KeyPath = tuple(step for step in found["loc"] if step != "[key]")
    kind, value = found["type"], found["input"]
    last = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        return Problem(path, "unknown key.", did_you_mean(last, keys_at(path[:-1], root)))
    if kind == "missing":
        return Problem(path, "is missing.", _REMEDIES.get(last, ""))
    if kind == "enum":
        return Problem(
            path, f"unknown {last} {value!r}.", did_you_mean(value, expected_values(found))
        )
    if kind == "literal_error":
        names = expected_values(found)
        remedy = did_you_mean(value, names) if len(names) > 1 else f"Write {names[0]}."
        return Problem(path, f"cannot be {value!r}.", remedy)
    if kind in _RANGES:
        return Problem(path, f"{value!r} is out of range.", f"It must be {range_at(path, root)}.")
    if kind == "string_pattern_mismatch" and "language" in path:
        return Problem(path, f"{value!r} is no language code.", "Write two letters: de, en, zh.")
    if kind in _KINDS:
        what, remedy = _KINDS[kind]
        return Problem(path, f"{_quoted(value)} {what}", remedy or _REMEDIES.get(last, ""))
    message = str(found["msg"]).removeprefix("Value error, ")
    if isinstance(value, dict):  # a check of the whole mapping; it quotes the key it speaks of
        path += tuple(key for key in value if f"{key!r}:" in message)[:1]
    return Problem(path, f"{message} (it is {value!r})." if _short(value) else f"{message}.")


def expected_values(found: dict[str, Any]) -> list[str]:
    """The valid values of an error of pydantic, which says ``'a', 'b' or 'c'``."""
    return str(found["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")


def _quoted(value: object) -> str:
    return repr(value) if _short(value) else "this"


def _short(value: object) -> bool:
    return isinstance(value, str | int | float | None) and len(str(value)) <= 60
