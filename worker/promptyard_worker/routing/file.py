"""Finds and loads router.yaml, with errors that name line, key and remedy."""

from __future__ import annotations

from pathlib import Path

import promptyard_worker
from promptyard.errors import RouterFileError
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.inspection import Inspection, inspect_file

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
            f"{explicit}: there is no such file. Correct PROMPTYARD_ROUTER, "
            f"or unset it to use the packaged router file."
        )
    candidates = (Path(FILE_NAME), *_packaged_candidates())
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = ", ".join(str(candidate.absolute()) for candidate in candidates)
    raise RouterFileError(
        f"There is no {FILE_NAME} (looked for {places}). Name one by PROMPTYARD_ROUTER."
    )


def packaged_router_file() -> Path:
    """The file that comes with Promptyard."""
    return next(path for path in _packaged_candidates() if path.is_file())


def load_router(path: Path) -> RouterConfig:
    """Read and check a router file, ours or one of semantic-router 0.x.

    Raises:
        RouterFileError: it cannot be used; names every problem with file and line, key
            path, what is wrong and what would be right.
    """
    inspection = inspect_router(path)
    if inspection.config is None:
        raise refused(inspection)
    return inspection.config


def inspect_router(path: Path) -> Inspection:
    """Read a router file and find all that is wrong or odd.

    Raises:
        RouterFileError: it cannot be read at all.
    """
    return inspect_file(path, packaged=packaged_router_file)


def refused(inspection: Inspection) -> RouterFileError:
    """The problems of a file in one error."""
    path = inspection.path
    lines = [f"{path}:{finding}" for finding in inspection.problems]
    if (more := len(lines) - _MAX_SHOWN) > 0:
        noun = "problem" if more == 1 else "problems"
        rest = f"and {more} more {noun}: see them by `promptyard router check {path}`."
        lines[_MAX_SHOWN:] = [rest]
    return RouterFileError("\n".join(lines))


def _packaged_candidates() -> tuple[Path, Path]:
    """In a wheel the file lies in the package; in an editable install two floors up."""
    package = Path(promptyard_worker.__file__).parent
    return package / FILE_NAME, package.parent.parent / FILE_NAME
