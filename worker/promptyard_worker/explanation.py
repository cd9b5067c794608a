"""``promptyard route``: where a prompt would go, and why."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from promptyard.cli.options import print_json, stdout_console
from promptyard.errors import InputError
from promptyard.settings import Settings
from promptyard_worker.routing.file import find_router_file, load_router
from promptyard_worker.routing.router import Explanation, PromptRouter


def explain(text: str, *, settings: Settings, as_json: bool) -> None:
    """Print the decision for a prompt; no model is called, no Redis is needed.

    Raises:
        InputError: the prompt is blank.
        RouterFileError: the router file cannot be used.
    """
    if not text.strip():
        raise InputError("The prompt is blank: give a text to route.")
    config = load_router(find_router_file(settings.router_file))
    explanation = PromptRouter(config).explain(text)
    if as_json:
        print_json(explanation)
        return
    console = stdout_console()
    console.print(_sentence(explanation))
    console.print(_scores(explanation), _nearest(explanation))


def _sentence(explanation: Explanation) -> Text:
    decision = explanation.decision
    why = f"route {decision.route}" if decision.route else "no route is near enough: the default"
    margin = "" if decision.margin is None else f", margin {decision.margin:.4f}"
    return Text(f"{decision.tier} ({decision.model}), by {decision.stage}: {why}{margin}", "bold")


def _scores(explanation: Explanation) -> Table:
    table = Table("route", "score")
    for name, score in sorted(explanation.decision.scores.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{score:.4f}")
    return table


def _nearest(explanation: Explanation) -> Table:
    table = Table("similarity", "route", "nearest utterances")
    for neighbour in explanation.nearest:
        table.add_row(f"{neighbour.similarity:.4f}", neighbour.route, Text(neighbour.utterance))
    return table
