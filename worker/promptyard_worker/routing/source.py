"""A YAML or JSON file that knows its lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from promptyard.errors import RouterFileError
from promptyard_worker.routing.problems import Finding, Problem
from promptyard_worker.routing.schema import KeyPath

_NO_UTF8 = Problem((), "is not UTF-8.", "Save it as UTF-8.")
_TOO_DEEP = Problem((), "is nested too deeply to be read.", "Remove the needless brackets.")


@dataclass(frozen=True, slots=True)
class Source:
    """The content of a file, and where each key of it stands."""

    path: Path
    content: bytes
    #: None where the text could not be parsed.
    data: object = None
    root: yaml.Node | None = None
    #: What is wrong with the text as such.
    faults: tuple[Finding, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read and parse a file; what cannot be parsed is in ``faults``.

        Raises:
            RouterFileError: the file cannot be read at all.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RouterFileError(f"{path}: cannot be read: {error.strerror}.") from None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            return cls(path, content, faults=(Finding(line, _NO_UTF8),))
        try:
            data, root = _parse(text, is_json=path.suffix == ".json")
        except _Unparsable as error:
            return cls(path, content, faults=(error.finding,))
        except RecursionError:
            return cls(path, content, faults=(Finding(1, _TOO_DEEP),))
        return cls(path, content, data, root, faults=tuple(_twins(root)))

    def line_of(self, key_path: KeyPath) -> int:
        """Line (from 1) of a key, or of the nearest thing around it that the file has."""
        node, line = self.root, 1
        for step in key_path:
            if isinstance(node, yaml.MappingNode):
                entry = next(((k, v) for k, v in node.value if k.value == str(step)), None)
                if entry is None:
                    break
                line, node = entry[0].start_mark.line + 1, entry[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                if step >= len(node.value):
                    break
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line


class _Unparsable(Exception):
    """The text is no YAML, no JSON."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def _parse(text: str, *, is_json: bool) -> tuple[object, yaml.Node | None]:
    """JSON by its own parser: YAML's takes no tabs and misreads surrogate pairs."""
    if not text.lstrip().startswith("{") and not is_json:
        return _parse_yaml(text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if is_json:
            fault = Problem((), f"is not JSON: {error.msg}.", "Check commas, quotes and brackets.")
            raise _Unparsable(Finding(error.lineno, fault)) from None
        return _parse_yaml(text)  # YAML's flow style
    try:
        # JSON is YAML, once its tabs (always outside of texts) are spaces; this finds lines
        return data, yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError):
        return data, None


def _parse_yaml(text: str) -> tuple[object, yaml.Node | None]:
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return (loader.construct_document(root) if root is not None else None), root
    except yaml.YAMLError as error:
        raise _Unparsable(_syntax_fault(text, error)) from None
    except (ValueError, OverflowError):  # "\U99999999"
        line = loader.line + 1 if loader else 1
        fault = Problem((), "a \\U escape is no character.", "Correct it.")
        raise _Unparsable(Finding(line, fault)) from None


class _Loader(yaml.SafeLoader):
    """Knows the line of a value that looks like a date or a number and is none (2026-02-31)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except ValueError as error:
            problem = f"{node.value!r} looks like a date or a number: {error}"
            mark = node.start_mark
            raise ConstructorError(None, None, problem, mark) from None


def _syntax_fault(text: str, error: yaml.YAMLError) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    context = getattr(error, "context", None)
    what = f"{problem} ({context})" if context else problem
    remedy = (
        "Check the indentation, and put texts that hold ': ', '#' or quotes in quotes."
        if mark
        else "Remove that character."
    )
    return Finding(line, Problem((), f"is not YAML: {what}.", remedy))


def _twins(root: yaml.Node | None) -> Iterator[Finding]:
    """Keys that are there twice: YAML would silently keep the last."""
    for node in _mappings(root, set()):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value == "<<":  # merge keys may repeat; other keys are texts here
                continue
            if str(key.value) in seen:
                first = seen[str(key.value)]
                what = f"the key {key.value!r} is here twice (line {first} has it too)."
                yield Finding(line, Problem((), what, "Keep one."))
            seen.setdefault(str(key.value), line)


def _mappings(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """Every mapping once, however many aliases lead to it."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _mappings(item, seen)
