"""Checks of the stages: listed and configured alike, fitted files there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import Problem
from promptyard_worker.routing.stages import StageName

#: What to write where a stage is listed but not configured.
_MISSING: dict[StageName, str] = {
    "rules": "List `rules:`, or remove it here.",
    "semantic": "List `utterances` in the routes, or remove it here.",
    "learned": "Add `learned: {file: ...}` (`promptyard fit` writes the file), or remove it here.",
    "judge": "Add `judge: {model: ...}`, or remove it here.",
}


def _stages_are_configured(config: RouterConfig) -> Iterator[Problem]:
    here = configured(config)
    for i, name in enumerate(config.stages or ()):
        if name in (config.stages or ())[:i]:
            what = f"{name!r} is listed twice."
            yield Problem(("stages", i), what, "A stage answers once: remove one.")
        elif name not in here:
            yield Problem(("stages", i), f"{name!r} is not configured.", _MISSING[name])


def _configured_stages_are_listed(config: RouterConfig) -> Iterator[Problem]:
    if config.stages is None:
        return
    for name in configured(config):
        if name not in config.stages and name != "semantic":  # utterances serve others too
            what = f"is configured, but `stages` does not list {name!r}, so it is never asked."
            yield Problem((name,), what, f"Add {name} to `stages`, or remove this.")


def configured(config: RouterConfig) -> tuple[StageName, ...]:
    """The stages that have what they need, listed or not."""
    return config.model_copy(update={"stages": None}).stage_order


def _calibration_rises(config: RouterConfig) -> Iterator[Problem]:
    calibration = config.semantic.calibration
    if calibration is None or calibration.method != "isotonic":
        return
    for axis in ("x", "y"):
        values = calibration.params[axis]
        if any(right < left for left, right in pairwise(values)):
            path = ("semantic", "calibration", "params", axis)
            what = "the values fall somewhere; a higher score cannot be less probable."
            yield Problem(path, what, "Copy them as the fit wrote them.")


def _fitted_file_is_there(config: RouterConfig) -> Iterator[Problem]:
    if config.learned is None:
        return
    path, key = config.learned.file, ("learned", "file")
    if not path.is_file():
        remedy = (
            "Correct the path (relative to this file); or take `learned:` out, write the file by "
            "`promptyard fit`, and put it back."
        )
        yield Problem(key, f"{path}: there is no such file.", remedy)
        return
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        remedy = "Let the user of the worker read it."
        yield Problem(key, f"{path} cannot be read: {error.strerror}.", remedy)


CHECKS = (
    _stages_are_configured,
    _configured_stages_are_listed,
    _calibration_rises,
    _fitted_file_is_there,
)
