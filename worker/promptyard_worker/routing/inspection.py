"""Reads a router file and finds all that is wrong with it, and what is odd."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from promptyard_worker.routing.checks import check, oddities
from promptyard_worker.routing.config import RouterConfig, digest
from promptyard_worker.routing.execution import ModelConfig
from promptyard_worker.routing.legacy import Translation, is_legacy, translate
from promptyard_worker.routing.mending import Mended
from promptyard_worker.routing.problems import Finding, Problem, problems_of
from promptyard_worker.routing.schema import KeyPath
from promptyard_worker.routing.source import Source

_MODELS = TypeAdapter(dict[str, ModelConfig])
_NO_MAPPING = Problem(
    (),
    "is not a router file: it must be keys and values.",
    "Begin it with `version: 1`, `default: flash`, `routes:` and `models:`.",
)


@dataclass(frozen=True)
class Inspection:
    """What was found in a file."""

    path: Path
    #: None if there is a problem.
    config: RouterConfig | None
    #: In the file's order; each keeps the file from being used.
    problems: tuple[Finding, ...] = ()
    #: In the file's order; what works but is probably not meant.
    warnings: tuple[Finding, ...] = ()
    #: Of a file of semantic-router 0.x.
    translation: Translation | None = None


def inspect_file(path: Path, *, packaged: Callable[[], Path]) -> Inspection:
    """Read a router file, ours or one of semantic-router 0.x.

    Args:
        path: the file.
        packaged: where the router file lies whose models are known to a 0.x file.

    Raises:
        RouterFileError: the file cannot be read at all.
    """
    source = Source.read(path)
    if not isinstance(source.data, dict):
        faults = source.faults or (Finding(1, _NO_MAPPING),)
        return Inspection(path, None, faults)
    if is_legacy(source.data):
        return _inspect_legacy(source, source.data, packaged())
    return _inspect_ours(source, source.data)


def _inspect_ours(source: Source, data: Mapping[str, Any]) -> Inspection:
    try:
        config = _rooted(RouterConfig.model_validate(data), source.path.parent)
    except ValidationError as error:
        problems = [*problems_of(error), *_beside(data, source.path.parent)]
        return Inspection(source.path, None, _problems(source, problems))
    if problems := check(config):
        return Inspection(source.path, None, _problems(source, problems))
    return _usable(source, config, oddities(config))


def _beside(data: Mapping[str, Any], folder: Path) -> list[Problem]:
    """What the checks find in a file whose shape is wrong, were it mended."""
    mended = Mended(data)
    if mended.config is None:
        return []
    found = ((mended.original(p.path), p) for p in check(_rooted(mended.config, folder)))
    return [Problem(path, p.what, p.remedy) for path, p in found if path is not None]


def _inspect_legacy(source: Source, data: Mapping[str, Any], packaged: Path) -> Inspection:
    translation = translate(data, known_models=_models_of(packaged))
    if isinstance(translation, list):
        return Inspection(source.path, None, _problems(source, translation))
    config = RouterConfig.model_validate(translation.data)
    remarks, original = translation.remarks, translation.original
    if problems := [*translation.problems, *_moved(check(config), original)]:
        placed = _problems(source, problems), _placed(source, remarks)
        return Inspection(source.path, None, *placed, translation)
    warnings = [*remarks, *_moved(oddities(config), original)]
    return _usable(source, config, warnings, translation)


def _usable(
    source: Source,
    config: RouterConfig,
    warnings: Iterable[Problem],
    translation: Translation | None = None,
) -> Inspection:
    """Without a problem, unless the text itself has one."""
    return Inspection(
        source.path,
        None if source.faults else config.at_version(_version(source, config)),
        source.faults,
        _placed(source, warnings),
        translation,
    )


def _version(source: Source, config: RouterConfig) -> str:
    """Of the file, and of the fitted file that it names: either changes what is decided."""
    if config.learned is None:
        return digest(source.content)
    try:
        fitted = config.learned.file.read_bytes()
    except OSError:  # the learned stage says so
        fitted = b""
    return digest(source.content, fitted)


def _problems(source: Source, problems: Iterable[Problem]) -> tuple[Finding, ...]:
    """With the faults of the text itself, in the file's order."""
    return _sorted([*source.faults, *_placed(source, problems)])


def _placed(source: Source, problems: Iterable[Problem]) -> tuple[Finding, ...]:
    """With their lines, in the file's order."""
    return _sorted([Finding(source.line_of(problem.path), problem) for problem in problems])


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda one: (one.line, str(one.problem))))


def _moved(problems: list[Problem], original: Callable[[KeyPath], KeyPath]) -> list[Problem]:
    return [Problem(original(p.path), p.what, p.remedy) for p in problems]


def _rooted(config: RouterConfig, folder: Path) -> RouterConfig:
    """Relative paths are relative to the file that names them."""
    update: dict[str, Any] = {}
    if config.encoder.path is not None:
        path = folder.absolute() / config.encoder.path
        update["encoder"] = config.encoder.model_copy(update={"path": path})
    if config.learned is not None:
        path = folder.absolute() / config.learned.file
        update["learned"] = config.learned.model_copy(update={"file": path})
    return config.model_copy(update=update)


def _models_of(path: Path) -> dict[str, ModelConfig]:
    data = Source.read(path).data
    return _MODELS.validate_python(data["models"] if isinstance(data, dict) else {})
