"""The verdicts of jsonschema-rs on parts of an answer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from urllib.parse import quote

import jsonschema_rs

from promptyard_worker.gemini.schema.engine import Engine
from promptyard_worker.gemini.schema.graph import InvalidSchema, Schema

_MOST_KEPT = 256
_DOCUMENT = "urn:promptyard:response-schema"


class Judge:
    """The verdicts on parts of answers, by parts of one schema."""

    def __init__(self, document: Schema, engine: Engine) -> None:
        self.document = document
        self._engine = engine
        self._dialect = {"$schema": document["$schema"]} if "$schema" in document else {}
        plain = {key: value for key, value in document.items() if key not in ("$id", "id")}
        self._registry = jsonschema_rs.Registry([(_DOCUMENT, plain)])
        self._kept: dict[Hashable, jsonschema_rs.Validator] = {}

    def meets(self, pointer: str, value: Any) -> bool:
        """Whether a value meets the subschema at a pointer."""
        found = self._kept.get(pointer)
        if found is None:
            found = self._compile(pointer, {"$ref": f"{_DOCUMENT}#{quote(pointer)}"})
        return found.is_valid(value)

    def obeys(self, rule: str, meaning: Any, value: Any) -> bool:
        """Whether a value obeys one rule; yes if the rule means nothing alone (draft 4)."""
        # the meaning is a part of the document, which lives as long as what is kept
        found = self._kept.get((rule, id(meaning)))
        if found is None:
            try:
                found = self._compile((rule, id(meaning)), {**self._dialect, rule: meaning})
            except InvalidSchema:
                return True
        return found.is_valid(value)

    def _compile(self, key: Hashable, schema: Schema) -> jsonschema_rs.Validator:
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        found = self._kept[key] = self._engine.compile(schema, self._registry)
        return found
