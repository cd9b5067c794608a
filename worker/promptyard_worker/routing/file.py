"""Finds and loads router.yaml, with errors that name line, key and remedy."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

import promptyard_worker
from promptyard.errors import RouterFileError
from promptyard_worker.routing.checks import check
from promptyard_worker.routing.config import EncoderConfig, RouterConfig, digest
from promptyard_worker.routing.problems import Problem, problems_of
from promptyard_worker.routing.source import YamlSource

FILE_NAME = "router.yaml"

#: More problems than this are only counted.
_MAX_SHOWN = 10


def find_router_file(explicit: Path | None) -> Path:
    """The router file to use.

    Args:
        explicit: the file the user named; None: ``./router.yaml``, else the packaged one,
            else that of the source tree.

    Raises:
        RouterFileError: there is no such file.
    """
    if explicit is not None:
        if explicit.is_file():
            return explicit
        raise RouterFileError(
            f"{explicit}: there is no such file. Correct --router or PROMPTYARD_ROUTER, "
            f"or unset it to use the packaged router file."
        )
    package = Path(promptyard_worker.__file__).parent
    # In a wheel the file lies in the package; in an editable install two floors up.
    candidates = (Path(FILE_NAME), package / FILE_NAME, package.parent.parent / FILE_NAME)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = ", ".join(str(candidate.absolute()) for candidate in candidates)
    raise RouterFileError(f"There is no {FILE_NAME} (looked for {places}). Name one by --router.")


def load_router(path: Path) -> RouterConfig:
    """Read and check a router file.

    Raises:
        RouterFileError: it cannot be used; names every problem with file and line, key
            path, what is wrong and what would be right.
    """
    source = YamlSource.read(path)
    if not isinstance(source.data, dict):
        raise RouterFileError(
            f"{path}:1: is not a router file: it must be keys and values. "
            f"Begin it with `version: 1`, `default: flash`, `routes:` and `models:`."
        )
    try:
        config = RouterConfig.model_validate(source.data)
    except ValidationError as error:
        raise _file_error(source, problems_of(error)) from None
    config = _with_absolute_encoder(config, path.parent)
    if problems := check(config):
        raise _file_error(source, problems)
    return config.at_version(digest(source.content))


def _with_absolute_encoder(config: RouterConfig, folder: Path) -> RouterConfig:
    """A relative encoder path is relative to the file that names it."""
    if config.encoder.path is None:
        return config
    encoder = EncoderConfig(type=config.encoder.type, path=folder / config.encoder.path)
    return config.model_copy(update={"encoder": encoder})


def _file_error(source: YamlSource, problems: list[Problem]) -> RouterFileError:
    """All problems in one error, in the file's order."""
    placed = sorted((source.line_of(p.path), str(p)) for p in problems)
    lines = [f"{source.path}:{line}: {text}" for line, text in placed[:_MAX_SHOWN]]
    if len(placed) > _MAX_SHOWN:
        lines.append(f"and {len(placed) - _MAX_SHOWN} more problems.")
    return RouterFileError("\n".join(lines))
