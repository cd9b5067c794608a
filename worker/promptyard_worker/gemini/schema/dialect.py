"""Gemini's own way to write a schema, turned into JSON Schema.

google-genai 3.4 passes ``response_json_schema`` on as it is, and the API documents it as JSON
Schema. But the older ``response_schema`` is a subset of OpenAPI 3.0 with type names in capitals,
and its schemas are what many batch files hold. They are read as the SDK's own
``types.Schema.json_schema`` reads them: names of types in small letters, ``TYPE_UNSPECIFIED`` as
no type, ``nullable`` as a second type. Counts are int64, which proto JSON may write as strings.
"""

from __future__ import annotations

from typing import Any

_TYPES = frozenset({"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"})
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")


def to_json_schema(schema: dict[str, Any]) -> None:
    """Rewrite one subschema in place; what is JSON Schema already stays as it is."""
    kind = schema.get("type")
    if kind == "TYPE_UNSPECIFIED":
        del schema["type"]
    elif isinstance(kind, str):
        schema["type"] = _small(kind)
    elif isinstance(kind, list):
        schema["type"] = [_small(one) for one in kind]
    for count in _COUNTS:
        text = schema.get(count)
        if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 19:
            schema[count] = int(text)
    if schema.get("nullable") is True:
        _allow_null(schema)


def _small(kind: Any) -> Any:
    return kind.lower() if isinstance(kind, str) and kind in _TYPES else kind


def _allow_null(schema: dict[str, Any]) -> None:
    kind, labels, branches = schema.get("type"), schema.get("enum"), schema.get("anyOf")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    elif isinstance(kind, list) and "null" not in kind:
        schema["type"] = [*kind, "null"]
    if isinstance(labels, list) and None not in labels:
        schema["enum"] = [*labels, None]
    if isinstance(branches, list):
        schema["anyOf"] = [*branches, {"type": "null"}]
