"""Checks of a policy that need more than one place of the file.

Each check is a function from the policy to problems; ``CHECKS`` is the list. They run
after the schema has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import KeyPath, Problem, did_you_mean, render


def check(config: RouterConfig) -> list[Problem]:
    """Every problem of a policy."""
    return [problem for one in CHECKS for problem in one(config)]


def _routes_exist(config: RouterConfig) -> Iterator[Problem]:
    if not config.routes:
        yield Problem(("routes",), "there is no route.", "List at least one, with utterances.")


def _models_are_known(config: RouterConfig) -> Iterator[Problem]:
    for i, route in enumerate(config.routes):
        named: list[tuple[KeyPath, str]] = [(("routes", i, "model"), route.model)]
        named += [(("routes", i, "fallback", j), name) for j, name in enumerate(route.fallback)]
        for path, name in named:
            if name not in config.models:
                yield Problem(path, f"unknown model {name!r}.", did_you_mean(name, config.models))


def _names_are_unique(config: RouterConfig) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for i, route in enumerate(config.routes):
        if first.setdefault(route.name, i) != i:
            other = render(("routes", first[route.name]))
            yield Problem(
                ("routes", i, "name"),
                f"{route.name!r} is the name of {other} too.",
                "Rename one, or merge their utterances.",
            )


def _routes_have_utterances(config: RouterConfig) -> Iterator[Problem]:
    for i, route in enumerate(config.routes):
        if not route.utterances:
            yield Problem(
                ("routes", i, "utterances"),
                f"the route {route.name!r} has no utterances, so no prompt can be near it.",
                "List some prompts that should go there; ten or more work well.",
            )


def _utterances_are_unique(config: RouterConfig) -> Iterator[Problem]:
    """The same text in two routes is a tie by design: neither can win it."""
    first: dict[str, tuple[int, int]] = {}
    for i, route in enumerate(config.routes):
        for j, utterance in enumerate(route.utterances):
            seen = first.setdefault(" ".join(utterance.casefold().split()), (i, j))
            if seen[0] != i:
                other = config.routes[seen[0]].name
                yield Problem(
                    ("routes", i, "utterances", j),
                    f"the route {other!r} has this utterance too.",
                    "Keep it in one of them.",
                )


def _default_tier_has_a_model(config: RouterConfig) -> Iterator[Problem]:
    tiers = [*(r.tier for r in config.routes), *(m.tier for m in config.models.values())]
    if config.default not in tiers:
        yield Problem(
            ("default",),
            f"no route and no model has the tier {config.default.value!r}.",
            did_you_mean(config.default.value, dict.fromkeys(tier.value for tier in tiers)),
        )


def _encoder_is_there(config: RouterConfig) -> Iterator[Problem]:
    path = config.encoder.path
    if path is not None and not (path / "model.safetensors").is_file():
        yield Problem(
            ("encoder", "path"),
            f"{path} is no folder of a model2vec table.",
            "Name the folder that holds model.safetensors, or remove the key.",
        )


#: A later check is one more function here.
CHECKS: tuple[Callable[[RouterConfig], Iterator[Problem]], ...] = (
    _routes_exist,
    _models_are_known,
    _names_are_unique,
    _routes_have_utterances,
    _utterances_are_unique,
    _default_tier_has_a_model,
    _encoder_is_there,
)
