"""``promptyard route``: where a job would go, why, and what it would cost."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic_core import from_json, to_json

from promptyard.errors import InputError, SettingsError
from promptyard.formats.jsonl import BadLine, read_jobs
from promptyard.formats.source import STDIN, open_source
from promptyard.job import Decision, Job, JobError, Usage
from promptyard.names import Tier
from promptyard.settings import Settings
from promptyard_worker.routing.config import SEPARATOR
from promptyard_worker.routing.file import find_router_file, load_router
from promptyard_worker.routing.learned.knob import knob_line
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing_services import routing_services

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from promptyard_worker.routing.config import RouterConfig

_BOM: Final = b"\xef\xbb\xbf"
_DYNAMIC: Final = -1
_DIGITS: Final = 4
#: Forks on the way of one prompt.
_MOST_FORKS: Final = 100.0


@dataclass(frozen=True)
class Explanation:
    """A decision, and what stands beside it."""

    decision: Decision
    #: Of the prompt.
    tokens: int
    #: Whether the API counted them; else they are estimated.
    is_counted: bool
    cost_usd: float
    #: What the default model of each tier would cost, the dearest first.
    tier_costs_usd: dict[Tier, float]
    #: What the quality knob costs and gains; None without one.
    knob: str | None


def read_job(name: str) -> Job:
    """The job of a file with one JSON object, an input line of ``promptyard run``.

    Raises:
        InputError: there is no such file, or it holds no such object.
    """
    shown = "stdin" if name == STDIN else name
    with open_source(name) as path:
        raw = path.read_bytes().removeprefix(_BOM)
    try:
        line = to_json(from_json(raw, allow_inf_nan=False))
    except ValueError:
        raise InputError(
            f'{shown} is not one JSON object: write {{"prompt": "..."}}, as a line of an input '
            f"file has it."
        ) from None
    (item,) = read_jobs(io.BytesIO(line), batch_id="")
    if isinstance(item, BadLine):
        raise InputError(f"{shown}: {item.message}.")
    return item


def explain(
    job: Job, *, settings: Settings, router_file: Path | None = None, count: bool = False
) -> Explanation:
    """Decide for a job as a worker would; no Redis is needed.

    Args:
        job: as it would be submitted.
        settings: say where things are.
        router_file: None: the one in use.
        count: have the API count the tokens.

    Raises:
        InputError: the job cannot be routed.
        RouterFileError: the router file cannot be used.
        SettingsError: the API is to count, and there is no key, or it does not answer.
    """
    config = load_router(find_router_file(router_file or settings.router_file))
    with routing_services(settings) as services:
        decision = PromptRouter(_asking_always(config), services).explain(job)
    if isinstance(decision, JobError):
        raise InputError(decision.message)
    if count:
        tokens = _counted(job, decision)
        cost_usd = _cost_usd(config, decision.model, tokens)
        decision = decision.model_copy(update={"estimated_cost_usd": cost_usd})
    else:
        tokens = Reading.of(job, context_turns=config.context_turns).token_count
    costs = [
        (tier, _cost_usd(config, model, tokens))
        for tier, model in config.catalog().tier_models.items()
    ]
    return Explanation(
        decision=decision,
        tokens=tokens,
        is_counted=count,
        cost_usd=_cost_usd(config, decision.model, tokens),
        tier_costs_usd=dict(sorted(costs, key=lambda cost: -cost[1])),
        knob=knob_line(config) if "learned" in config.stage_order else None,
    )


def _counted(job: Job, decision: Decision) -> int:
    from promptyard_worker.gemini.blocking import blocking_client
    from promptyard_worker.gemini.counting import count_tokens
    from promptyard_worker.gemini.taxonomy import classify_exception

    with closing(blocking_client()) as client:
        try:
            return count_tokens(client, job, decision)
        except Exception as error:
            failure = classify_exception(error).error
            raise SettingsError(
                f"{decision.model} did not count the tokens: {failure.message} "
                "promptyard doctor says whether the key is taken."
            ) from error


def show(found: Explanation, console: Console) -> None:
    """Print an explanation for people."""
    for line in _lines(found):
        console.print(line, markup=False, soft_wrap=True)
    decision = found.decision
    if decision.scores or decision.probabilities:
        console.print(_routes(decision))
    if decision.nearest:
        console.print(_nearest(decision))


def _asking_always(config: RouterConfig) -> RouterConfig:
    """One prompt is no share of many: the judge sees it at every fork it comes to."""
    if config.judge is None:
        return config
    judge = config.judge.model_copy(update={"max_share": _MOST_FORKS})
    return config.model_copy(update={"judge": judge}).at_version(config.policy_version)


def _cost_usd(config: RouterConfig, name: str, tokens: int) -> float:
    model = config.model(name)
    usage = Usage(prompt_tokens=tokens, output_tokens=model.typical_output_tokens)
    return model.price.cost_usd(usage)


def _lines(found: Explanation) -> Iterator[str]:
    decision = found.decision
    yield f"{decision.tier} ({decision.model}), by {_stage(decision)}"
    rows = (
        ("route", decision.route),
        ("rule", decision.rule),
        ("reason", decision.reason),
        ("margin", _number(decision.margin)),
        ("difficulty", _number(decision.difficulty)),
        ("thinking", _thinking(decision.thinking_budget)),
        ("tokens", _tokens(found)),
        ("cost", _cost(found)),
        ("knob", found.knob),
        ("policy", decision.policy_version),
    )
    yield from (f"  {name:<10} {value}" for name, value in rows if value is not None)


def _tokens(found: Explanation) -> str:
    if found.is_counted:
        return f"{found.tokens:,} in the prompt, as the API counts them"
    return f"about {found.tokens:,} in the prompt"


def _stage(decision: Decision) -> str:
    told = {
        "explicit": "explicit: the job names it",
        "default": "default: no stage was sure",
    }
    return told.get(decision.stage, decision.stage)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.{_DIGITS}f}"


def _thinking(budget: int | None) -> str:
    if budget is None:
        return "the model's own default"
    if budget == _DYNAMIC:
        return "dynamic: as much as the model finds useful"
    return f"at most {budget:,} tokens" if budget else "off"


def _cost(found: Explanation) -> str:
    """The estimate, beside what the dearest and the cheapest tier would cost."""
    tiers = [f"{tier} ${cost:.6f}" for tier, cost in found.tier_costs_usd.items()]
    return f"about ${found.cost_usd:.6f} (dearest: {tiers[0]}, cheapest: {tiers[-1]})"


def _routes(decision: Decision) -> Table:
    """Every route that was scored: those of the first fork, then those behind it."""
    from rich.table import Table
    from rich.text import Text

    table = Table("route", "score", *(["probability"] if decision.probabilities else []))
    names = {**decision.scores, **decision.probabilities}
    best = {**decision.probabilities, **decision.scores}
    for name in sorted(names, key=lambda name: (*_fork(name), -best[name])):
        values = [decision.scores.get(name)]
        values += [decision.probabilities.get(name)] if decision.probabilities else []
        table.add_row(Text(name), *(_number(value) or "-" for value in values))
    return table


def _fork(address: str) -> tuple[int, str]:
    """How deep the route's fork lies, and its address."""
    parent = address.rpartition(SEPARATOR)[0]
    return address.count(SEPARATOR), parent


def _nearest(decision: Decision) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("similarity", "route", "nearest utterances")
    for neighbour in decision.nearest:
        table.add_row(
            _number(neighbour.similarity), Text(neighbour.route), Text(neighbour.utterance)
        )
    return table
