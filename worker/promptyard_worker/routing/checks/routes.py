"""Checks of the routes: names, utterances, fallback, bands, the default tier."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from promptyard_worker.routing.checks.stages import configured
from promptyard_worker.routing.checks.tree import (
    Placed,
    PlacedFork,
    forks_of,
    leaves_of,
    routes_of,
    served_tiers,
)
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import Problem, did_you_mean, render


def _routes_exist(config: RouterConfig) -> Iterator[Problem]:
    if not config.routes:
        yield Problem(("routes",), "there is no route.", "List at least one, with utterances.")


def _names_are_unique(config: RouterConfig) -> Iterator[Problem]:
    for fork in forks_of(config):
        first: dict[str, Placed] = {}
        for placed in fork.routes:
            other = first.setdefault(placed.route.name, placed)
            if other is not placed:
                yield Problem(
                    (*placed.path, "name"),
                    f"{placed.route.name!r} is the name of {render(other.path)} too.",
                    "Rename one, or merge their utterances.",
                )


def _routes_have_utterances(config: RouterConfig) -> Iterator[Problem]:
    """Where the semantic stage chooses; the learned one goes by tier and model of siblings."""
    stages = config.stage_order
    if not stages and config.stages is None and config.routes:
        yield _nobody_chooses(next(forks_of(config)))
    if "semantic" not in configured(config) or "semantic" not in stages or "learned" in stages:
        return
    for fork in forks_of(config):
        silent = [one for one in fork.routes if not any(one.route.all_utterances())]
        if len(silent) < len(fork.routes):
            yield from map(_no_utterances, silent)
        elif len(fork.routes) > 1 and "judge" not in stages:
            yield _nobody_chooses(fork)


def _no_utterances(placed: Placed) -> Problem:
    return Problem(
        (*placed.path, "utterances"),
        f"the route {placed.address!r} has no utterances, so no prompt can be near it.",
        "List some prompts that should go there; ten or more work well.",
    )


def _nobody_chooses(fork: PlacedFork) -> Problem:
    names = ", ".join(placed.route.name for placed in fork.routes)
    return Problem(
        fork.path,
        f"no stage can choose among {names}: none of them has utterances.",
        "List utterances for each, or add a `learned` stage, which goes by tier and model.",
    )


def _utterances_are_unique(config: RouterConfig) -> Iterator[Problem]:
    """The same text in two routes is a tie by design; a group may repeat its sub-routes'."""
    seen: dict[str, list[Placed]] = {}
    for placed in routes_of(config):
        for j, utterance in enumerate(placed.route.utterances):
            homes = seen.setdefault(" ".join(utterance.casefold().split()), [])
            other = next((home for home in homes if not home.is_above(placed)), None)
            if other is not None:
                yield Problem(
                    (*placed.path, "utterances", j),
                    f"the route {other.address!r} has this utterance too.",
                    "Keep it in one of them.",
                )
            homes.append(placed)


def _fallback_has_no_cycle(config: RouterConfig) -> Iterator[Problem]:
    for placed in leaves_of(config):
        tried = {placed.route.model}
        for j, name in enumerate(placed.route.fallback):
            if name in tried:
                what = (
                    f"the chain comes back to {name!r}, the route's own model."
                    if name == placed.route.model
                    else f"{name!r} is in the chain twice."
                )
                remedy = "A model that failed is not tried again: remove it here."
                yield Problem((*placed.path, "fallback", j), what, remedy)
            tried.add(name)


def _bands_rise(config: RouterConfig) -> Iterator[Problem]:
    for placed in leaves_of(config):
        bands = placed.route.bands
        if bands and "learned" not in config.stage_order:
            yield Problem(
                (*placed.path, "bands"),
                "only the learned stage knows how hard a prompt is, and there is none.",
                "Add `learned: {file: ...}` (see `promptyard fit`), or set `thinking_budget`.",
            )
        for j, (lower, upper) in enumerate(pairwise(bands), start=1):
            if upper.difficulty <= lower.difficulty:
                yield Problem(
                    (*placed.path, "bands", j, "difficulty"),
                    f"{upper.difficulty:g} is not above the {lower.difficulty:g} before it.",
                    "List the bands from easy to hard, each difficulty once.",
                )


def _default_tier_has_a_model(config: RouterConfig) -> Iterator[Problem]:
    tiers = served_tiers(config)
    if config.default not in tiers:
        what = f"no route and no model has the tier {config.default.value!r}."
        yield Problem(("default",), what, did_you_mean(config.default.value, tiers))


CHECKS = (
    _routes_exist,
    _names_are_unique,
    _routes_have_utterances,
    _utterances_are_unique,
    _fallback_has_no_cycle,
    _bands_rise,
    _default_tier_has_a_model,
)
