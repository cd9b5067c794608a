"""Checks of the rules: where they lead, what they ask, which of them can fire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from promptyard_worker.routing.checks.tree import routes_of, served_tiers
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import Problem, did_you_mean, render
from promptyard_worker.routing.stages import When


def _targets_exist(config: RouterConfig) -> Iterator[Problem]:
    addresses = dict.fromkeys(placed.address for placed in routes_of(config))
    served = served_tiers(config)
    for i, rule in enumerate(config.rules):
        if rule.route is not None and rule.route not in addresses:
            remedy = did_you_mean(rule.route, addresses)
            yield Problem(("rules", i, "route"), f"unknown route {rule.route!r}.", remedy)
        if rule.tier is not None and rule.tier not in served:
            yield Problem(
                ("rules", i, "tier"),
                f"no route and no model has the tier {rule.tier.value!r}.",
                did_you_mean(rule.tier.value, served),
            )


def _searches_compile(config: RouterConfig) -> Iterator[Problem]:
    given = [(i, rule.when) for i, rule in enumerate(config.rules)]
    if not any(when.regex or when.keywords for _, when in given):
        return
    from promptyard_worker.routing.searches import compile_keywords, compile_regex  # loads RE2

    for i, when in given:
        path = ("rules", i, "when")
        if refusal := _refusal(compile_keywords, when.keywords):
            yield Problem((*path, "keywords"), refusal, "Make two rules of it.")
        if refusal := _refusal(compile_regex, when.regex):
            remedy = "Write it as https://github.com/google/re2/wiki/Syntax says."
            yield Problem((*path, "regex"), refusal, remedy)


def _refusal(compile_search: Callable[[Any], object], searched: object) -> str | None:
    try:
        if searched:
            compile_search(searched)
    except ValueError as error:
        return f"{str(error).rstrip('.')}."
    return None


def _names_are_unique(config: RouterConfig) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for i, rule in enumerate(config.rules):
        other = first.setdefault(rule.name, i)
        if other != i:
            what = f"{rule.name!r} is the name of {render(('rules', other))} too."
            yield Problem(("rules", i, "name"), what, "Rename one: the record shows the name.")


def _rules_can_fire(config: RouterConfig) -> Iterator[Problem]:
    """A rule whose conditions an earlier one asks too, and no more, never gets a prompt."""
    asked = [_conditions(rule.when) for rule in config.rules]
    for i, conditions in enumerate(asked):
        path = ("rules", i, "when")
        if not conditions:
            what = "its conditions are empty, so it would take every prompt."
            yield Problem(path, what, "Give one that not every prompt meets.")
            continue
        earlier = next((j for j in range(i) if asked[j] and _covers(asked[j], conditions)), None)
        if earlier is not None:
            what = f"never fires: {render(('rules', earlier))} takes all of its prompts."
            yield Problem(path, what, "Remove it, or move it before that rule.")


def _covers(wide: Mapping[str, object], narrow: Mapping[str, object]) -> bool:
    return all(key in narrow and narrow[key] == value for key, value in wide.items())


def _conditions(when: When) -> dict[str, object]:
    """What a rule really asks; order and case do not count where they do not matter."""
    tokens = when.tokens
    asked: dict[str, object] = {
        "keywords": frozenset(word.casefold() for word in when.keywords),
        "regex": when.regex,
        "tokens": (tokens.min, tokens.max) if tokens and (tokens.min or tokens.max) else None,
        "language": frozenset(when.language),
        "has": frozenset(when.has),
        "text": when.text,
        "metadata": when.metadata,
        "response_schema": when.response_schema,
    }
    return {key: value for key, value in asked.items() if value not in (None, frozenset(), {})}


CHECKS = (_targets_exist, _searches_compile, _names_are_unique, _rules_can_fire)
