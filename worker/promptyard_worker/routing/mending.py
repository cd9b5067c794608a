"""Mends the small mistakes of a file, so that the checks can find the others at once.

A mended file is never used: it only serves to list all problems of a file together. What
was put in is a guess, so problems at those places are not reported a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic import ValidationError

from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import expected_values
from promptyard_worker.routing.schema import KeyPath, field_at, keys_at, nearest

#: Most mistakes that are mended.
_ROUNDS: Final = 200
#: Without these nothing is left to check.
_WHOLE: Final = (("routes",), ("models",))
_PRICE: Final = {"input": 1, "output": 1}
#: Values that pass, by key.
_STAND_INS: Final[dict[str, Any]] = {
    "version": 1,
    "default": "flash",
    "tier": "flash",
    "name": "?",
    "price": _PRICE,
    **_PRICE,
    "above_tokens": 1,
    "context_window": 1_000_000,
    "timeout_s": 60,
    "when": {"text": True},
    "file": "?",
    "difficulty": 1,
    "thinking_budget": 0,
}
_MODEL: Final = {"tier": "flash", "price": _PRICE, "context_window": 1_000_000, "timeout_s": 60}
_LEAF_KEYS: Final = ("tier", "model", "thinking_budget", "bands", "fallback")


class Mended:
    """A file's content with its mistakes against the schema mended, where that is simple."""

    def __init__(self, data: Mapping[str, object]) -> None:
        self._data: Any = deepcopy(dict(data))
        self._touched: set[KeyPath] = set()
        self._renamed: dict[KeyPath, KeyPath] = {}
        self.config = self._validate()

    def original(self, path: KeyPath) -> KeyPath | None:
        """Where a key stands in the file as written; None: it is our guess."""
        if any(path[:length] in self._touched for length in range(1, len(path) + 1)):
            return None
        for length in range(len(path), 0, -1):
            if path[:length] in self._renamed:
                return self._renamed[path[:length]] + path[length:]
        return path

    def _validate(self) -> RouterConfig | None:
        for _ in range(_ROUNDS):
            try:
                return RouterConfig.model_validate(self._data)
            except ValidationError as error:
                found: list[dict[str, Any]] = [dict(one) for one in error.errors()]
            if any(one["loc"] in _WHOLE or "[key]" in one["loc"] for one in found):
                return None
            # Unknown keys first: a misspelt one is no longer missing then. And one at a time:
            # what is mended may take other mistakes with it.
            unknown = [one["loc"] for one in found if one["type"] == "extra_forbidden"]
            if unknown:
                self._rename(unknown[0])
            elif not self._mend(found[0]):
                return None
        return None

    def _rename(self, path: KeyPath) -> None:
        parent = self._at(path[:-1])
        value = parent.pop(path[-1])
        meant = nearest(path[-1], keys_at(path[:-1], RouterConfig))
        if meant is not None and meant not in parent:
            parent[meant] = value
            self._renamed[(*path[:-1], meant)] = path

    def _mend(self, found: dict[str, Any]) -> bool:
        path: KeyPath = found["loc"]
        kind, value = found["type"], found["input"]
        if kind == "value_error" and "rules" in path[-2:] and isinstance(path[-1], int):
            return self._mend_rule(path)
        if kind == "value_error" and path[-2:-1] == ("routes",):
            return self._mend_route(path)
        if kind == "string_type" and isinstance(value, int | float):
            return self._put(path, str(value))
        if kind == "enum":
            return self._put(path, nearest(value, expected_values(found)) or _STAND_INS["tier"])
        if path[-2:-1] == ("models",):
            return self._put(path, _MODEL)
        return self._replace(path)

    def _replace(self, path: KeyPath) -> bool:
        """Drop what has a default (with its whole list), else put a stand-in."""
        while path and isinstance(path[-1], int):
            path = path[:-1]
        field = field_at(path, RouterConfig)
        if field is None or not path:
            return False
        if not field.is_required():
            self._at(path[:-1]).pop(path[-1], None)
            self._touched.add(path)
            return True
        if path[-1] not in _STAND_INS:
            return False
        return self._put(path, _STAND_INS[str(path[-1])])

    def _mend_route(self, path: KeyPath) -> bool:
        route = self._at(path)
        route["name"] = str(route["name"]).replace("/", "-")
        if route.get("routes"):
            for key in _LEAF_KEYS:
                route.pop(key, None)
            return True
        for key, value in (
            ("tier", "flash"),
            ("model", next(iter(self._data["models"]), "?")),
        ):
            if key not in route:
                self._put((*path, key), value)
        return True

    def _mend_rule(self, path: KeyPath) -> bool:
        rule = self._at(path)
        targets = [key for key in ("tier", "route", "model") if rule.get(key) is not None]
        for key in targets[1:]:
            del rule[key]
        return bool(targets) or self._put((*path, "tier"), self._data.get("default", "flash"))

    def _put(self, path: KeyPath, value: object) -> bool:
        self._at(path[:-1])[path[-1]] = deepcopy(value)
        self._touched.add(path)
        return True

    def _at(self, path: KeyPath) -> Any:
        place = self._data
        for step in path:
            place = place[step]
        return place
