"""What works, but is probably not meant; ``promptyard router check`` shows it as a warning."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from promptyard.job import Usage
from promptyard.names import Tier
from promptyard_worker.routing.checks.stages import configured
from promptyard_worker.routing.checks.tree import Placed, PlacedFork, forks_of, leaves_of, routes_of
from promptyard_worker.routing.config import SEPARATOR, RouterConfig
from promptyard_worker.routing.problems import Problem, did_you_mean
from promptyard_worker.routing.stages import StageName

#: Fewer utterances say little of a route.
FEW_UTTERANCES: Final = 5
#: No model reads so few tokens; probably thousands were meant.
SMALL_WINDOW: Final = 4096
#: USD per million tokens; less is probably a price per token or per thousand.
LOW_PRICE: Final = 0.001
#: A usual call; only to compare prices.
_USUAL: Final = Usage(prompt_tokens=1000, output_tokens=500)
#: What google-genai documents.
_TASK_TYPES: Final = (
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "RETRIEVAL_DOCUMENT",
    "RETRIEVAL_QUERY",
    "CODE_RETRIEVAL_QUERY",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
)


def _routes_can_be_reached(config: RouterConfig) -> Iterator[Problem]:
    served = {str(route.tier): address for address, route in reversed([*config.leaves()])}
    for fork in forks_of(config):
        for placed in fork.routes:
            if not (_is_chosen(placed, fork, config) or placed.address in served.values()):
                what = f"no stage can choose the route {placed.address!r}."
                yield Problem(placed.path, what, "Give it utterances or a rule, or remove it.")


def _is_chosen(placed: Placed, fork: PlacedFork, config: RouterConfig) -> bool:
    stages = config.stage_order
    targets = [f"{rule.route}{SEPARATOR}" for rule in config.rules if "rules" in stages]
    twins = [one for one in fork.routes if _arm(one) == _arm(placed)]
    return (
        ("semantic" in stages and any(placed.route.all_utterances()))
        or ("learned" in stages and twins[0] is placed)
        or "judge" in stages
        or any(target.startswith(f"{placed.address}{SEPARATOR}") for target in targets)
        or len(fork.routes) == 1
    )


def _arm(placed: Placed) -> object:
    """What the learned stage knows routes by."""
    return (placed.route.tier, placed.route.model) if not placed.route.routes else placed.path


def _later_stages_are_asked(config: RouterConfig) -> Iterator[Problem]:
    order = config.stage_order
    for i, name in enumerate(order[:-1]):
        if not _is_always_sure(name, config):
            continue
        semantic = name == "semantic"
        lacks = "has neither threshold nor margin" if semantic else "has a threshold of 0"
        what = f"{lacks}, so it is sure of every prompt; {', '.join(order[i + 1 :])} gets none."
        path = (name,) if semantic else (name, "threshold")
        yield Problem(path, what, "Set a bar, or leave the stage out of `stages`.")
        return


def _is_always_sure(name: StageName, config: RouterConfig) -> bool:
    if name == "learned":
        return config.learned is not None and config.learned.threshold == 0
    bars = [placed.route.threshold for placed in routes_of(config)]
    free = config.semantic.threshold is None and all(bar is None for bar in bars)
    return name == "semantic" and free and config.semantic.margin == 0


def _listed_stages_are_all(config: RouterConfig) -> Iterator[Problem]:
    if "semantic" in configured(config) and "semantic" not in config.stage_order:
        what = "`semantic` is not listed, so the utterances of the routes choose nothing."
        yield Problem(("stages",), what, "Add semantic, if they should.")


def _words_weigh_nothing(config: RouterConfig) -> Iterator[Problem]:
    if "alpha" in config.semantic.model_fields_set and config.semantic.sparse is None:
        what = "weighs meaning against words, but there is no `sparse`."
        yield Problem(("semantic", "alpha"), what, "Add `sparse: bm25`, or remove it.")


def _routes_have_enough_utterances(config: RouterConfig) -> Iterator[Problem]:
    if "semantic" not in config.stage_order:
        return
    for placed in routes_of(config):
        number = len([*placed.route.all_utterances()])
        if 0 < number < FEW_UTTERANCES:
            noun = "utterance" if number == 1 else "utterances"
            what = f"the route {placed.address!r} has {number} {noun}."
            yield Problem((*placed.path, "utterances"), what, "Ten or more work well.")


def _utterances_do_not_repeat(config: RouterConfig) -> Iterator[Problem]:
    for placed in routes_of(config):
        seen: set[str] = set()
        for j, utterance in enumerate(placed.route.utterances):
            text = " ".join(utterance.casefold().split())
            if text in seen:
                path = (*placed.path, "utterances", j)
                yield Problem(path, "the route has this utterance already.", "Remove it.")
            seen.add(text)


def _tiers_agree(config: RouterConfig) -> Iterator[Problem]:
    for placed in leaves_of(config):
        model = config.models.get(str(placed.route.model))
        if model is not None and model.tier is not placed.route.tier:
            what = (
                f"prompts go to the {placed.route.tier} queue, "
                f"but {placed.route.model} is a model of {model.tier}."
            )
            yield Problem((*placed.path, "tier"), what, "Give both the same tier.")


def _dearer_tiers_cost_more(config: RouterConfig) -> Iterator[Problem]:
    catalog = config.catalog()
    served = [(tier, catalog.tier_models[tier]) for tier in Tier if tier in catalog.tier_models]
    costs = {name: config.models[name].price.cost_usd(_USUAL) for _, name in served}
    for (tier, name), (lower_tier, lower) in combinations(served, 2):
        if costs[name] < costs[lower]:
            what = f"the model of {tier} costs less than {lower}, the model of {lower_tier}."
            yield Problem(("models", name, "price"), what, "Are the prices swapped?")


def _prices_are_per_million(config: RouterConfig) -> Iterator[Problem]:
    for name, model in config.models.items():
        for key, value in (("input", model.price.input), ("output", model.price.output)):
            path = ("models", name, "price", key)
            if value == 0:
                what = "is 0, so every estimate takes the model for free."
                yield Problem(path, what, "Give it in USD per million tokens, unless it is.")
            elif value < LOW_PRICE:
                what = f"{value:g} is very low."
                yield Problem(path, what, "Give it in USD per million tokens.")


def _windows_are_tokens(config: RouterConfig) -> Iterator[Problem]:
    for name, model in config.models.items():
        if model.context_window < SMALL_WINDOW:
            what = f"{model.context_window} tokens are very few."
            remedy = "Give it in tokens, such as 1048576, not in thousands."
            yield Problem(("models", name, "context_window"), what, remedy)


def _task_type_is_documented(config: RouterConfig) -> Iterator[Problem]:
    given = config.encoder.task_type
    if given is not None and given not in _TASK_TYPES:
        what = f"google-genai documents no task type {given!r}."
        yield Problem(("encoder", "task_type"), what, did_you_mean(given.upper(), _TASK_TYPES))


ODDITIES: Final = (
    _routes_can_be_reached,
    _later_stages_are_asked,
    _listed_stages_are_all,
    _words_weigh_nothing,
    _routes_have_enough_utterances,
    _utterances_do_not_repeat,
    _tiers_agree,
    _dearer_tiers_cost_more,
    _prices_are_per_million,
    _windows_are_tokens,
    _task_type_is_documented,
)
