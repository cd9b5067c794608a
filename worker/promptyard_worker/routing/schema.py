"""What a schema says about a place of the file: which keys, which range, what else."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

#: Keys and list positions from the root.
KeyPath = tuple[str | int, ...]


def keys_at(path: KeyPath, root: type[BaseModel]) -> list[str]:
    """Valid keys of the mapping at a path; none if it is no mapping of ours."""
    schema = _schema_in(_annotation_at(path, root))
    return [field.alias or name for name, field in schema.model_fields.items()] if schema else []


def field_at(path: KeyPath, root: type[BaseModel]) -> FieldInfo | None:
    """The field that a path's last key names; None: it is a list position or a free name."""
    schema = _schema_in(_annotation_at(path[:-1], root)) if path else None
    return _field(schema, path[-1]) if schema else None


def range_at(path: KeyPath, root: type[BaseModel]) -> str:
    """The numbers a field may have, in words; empty if any."""
    field = field_at(path, root)
    bounds = {
        name: getattr(one, name)
        for one in (field.metadata if field else ())
        for name in ("ge", "gt", "le", "lt")
        if getattr(one, name, None) is not None
    }
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {bounds[name]:g}" for name in words if name in bounds)


def nearest(wrong: object, valid: Iterable[str]) -> str | None:
    """The valid name that a misspelt one stands for."""
    near = difflib.get_close_matches(str(wrong), list(valid), n=1, cutoff=0.5)
    return near[0] if near else None


def _annotation_at(path: KeyPath, root: type[BaseModel]) -> object:
    annotation: object = root
    for step in path:
        schema = _schema_in(annotation)
        field = _field(schema, step) if schema else None
        if field is not None:
            annotation = field.annotation
        # Otherwise the step is a list position or a name in a dict: same annotation.
    return annotation


def _field(schema: type[BaseModel], key: str | int) -> FieldInfo | None:
    by_key = {field.alias or name: field for name, field in schema.model_fields.items()}
    return by_key.get(key) if isinstance(key, str) else None


def _schema_in(annotation: object) -> type[BaseModel] | None:
    """The model inside ``X``, ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_schema_in(argument) for argument in get_args(annotation))
    return next((schema for schema in found if schema), None)
