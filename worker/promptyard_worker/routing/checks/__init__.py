"""Checks of a policy that need more than one place of the file.

Each check is a function from the policy to problems, in the module of what it looks at; they
run after the schema has passed. A problem keeps a file from being used, an oddity does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from promptyard_worker.routing.checks import encoder, models, odd, routes, rules, stages
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import Problem

#: A later check is one more function in the list of its module.
CHECKS: Final[tuple[Callable[[RouterConfig], Iterator[Problem]], ...]] = (
    *stages.CHECKS,
    *routes.CHECKS,
    *rules.CHECKS,
    *models.CHECKS,
    *encoder.CHECKS,
)


def check(config: RouterConfig) -> list[Problem]:
    """Every problem of a policy whose paths are absolute."""
    return [problem for one in CHECKS for problem in one(config)]


def oddities(config: RouterConfig) -> list[Problem]:
    """What works, but is probably not meant."""
    return [problem for one in odd.ODDITIES for problem in one(config)]
