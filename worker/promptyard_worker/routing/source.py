"""A YAML file that knows its lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from promptyard.errors import RouterFileError
from promptyard_worker.routing.problems import KeyPath


@dataclass(frozen=True, slots=True)
class YamlSource:
    """The content of a YAML file, and where each key of it stands."""

    path: Path
    content: bytes
    data: object
    root: yaml.Node | None

    @classmethod
    def read(cls, path: Path) -> YamlSource:
        """Read and parse a file.

        Raises:
            RouterFileError: it cannot be read, is no YAML, or has a key twice.
        """
        try:
            content = path.read_bytes()
            text = content.decode()
        except OSError as error:
            raise RouterFileError(f"{path}: cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise RouterFileError(f"{path}:{line}: is not UTF-8. Save it as UTF-8.") from None
        try:
            loader = yaml.SafeLoader(text)
            root = loader.get_single_node()
            _refuse_twins(path, root)
            data = loader.construct_document(root) if root is not None else None
        except yaml.YAMLError as error:
            raise RouterFileError(_syntax_message(path, error)) from None
        return cls(path=path, content=content, data=data, root=root)

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


def _refuse_twins(path: Path, root: yaml.Node | None) -> None:
    """YAML would silently keep the last of two equal keys."""
    for node in _mappings(root):
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            # Merge keys (<<) may repeat; other keys are texts here.
            first = seen.setdefault(str(key.value), line)
            if first != line and key.value != "<<":
                raise RouterFileError(
                    f"{path}:{line}: the key {key.value!r} is here twice (line {first} has it "
                    f"too). Keep one."
                )


def _mappings(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _mappings(item)


def _syntax_message(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    what = f"{problem} ({context})" if context else problem
    return (
        f"{place}: is not YAML: {what}. Check the indentation, and put texts that hold ': ', "
        f"'#' or quotes in quotes."
    )
