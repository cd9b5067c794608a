"""Checks that every model that is named is one of the file."""

from __future__ import annotations

from collections.abc import Iterator

from promptyard_worker.routing.checks.tree import leaves_of
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import Problem, did_you_mean
from promptyard_worker.routing.schema import KeyPath


def _models_are_known(config: RouterConfig) -> Iterator[Problem]:
    for path, name in _named(config):
        if name not in config.models:
            yield Problem(path, f"unknown model {name!r}.", did_you_mean(name, config.models))


def _named(config: RouterConfig) -> Iterator[tuple[KeyPath, str]]:
    """Every place that names a model."""
    for placed in leaves_of(config):
        yield (*placed.path, "model"), str(placed.route.model)
        for j, name in enumerate(placed.route.fallback):
            yield (*placed.path, "fallback", j), name
    for i, rule in enumerate(config.rules):
        if rule.model is not None:
            yield ("rules", i, "model"), rule.model
    if config.judge is not None:
        yield ("judge", "model"), config.judge.model


CHECKS = (_models_are_known,)
