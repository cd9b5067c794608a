"""What keeps the models from being called: for ``status`` a line each, for ``doctor`` a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.table import Table

from promptyard.cli.words import count
from promptyard.store.health import Breaker, ModelHealth, RouteCounts

#: Less than this part of a limit left by 429s is worth a word.
_FAR_OFF: Final = 0.9
_BREAKERS: Final = {
    "unauthenticated": (
        "the key is refused",
        "give the workers a key that is valid (GEMINI_API_KEY) and start them again",
    ),
    "daily quota": (
        "the day's requests are used up",
        "raise the quota at Google and rpd in router.yaml, or wait",
    ),
    "failures": (
        "its calls fail",
        "nothing, if it is an outage: it is tried again by itself; the workers' logs say more",
    ),
}


@dataclass(frozen=True)
class Trouble:
    """One thing that holds up the calls of a model."""

    model: str
    what: str
    remedy: str
    #: Nothing but somebody's doing ends it.
    is_failure: bool = False


def troubles(models: Sequence[ModelHealth]) -> list[Trouble]:
    """All there are."""
    return [found for model in models for found in _of(model)]


def _of(model: ModelHealth) -> Iterator[Trouble]:
    name = model.name
    if model.paused_since:
        what = f"paused since {moment(model.paused_since)}"
        yield Trouble(name, what, f"promptyard resume --model {name}")
    if model.tier_paused_since:
        what = f"tier {model.tier} paused since {moment(model.tier_paused_since)}"
        yield Trouble(name, what, f"promptyard resume --tier {model.tier}")
    if model.breaker:
        yield _of_breaker(name, model.breaker, model.parked)
    if until := model.quota.blocked_until:
        remedy = "nothing; if it goes on, lower rpm or tpm in router.yaml"
        yield Trouble(name, f"a 429 stops its calls until {moment(until)}", remedy)
    left = min(model.quota.request_factor, model.quota.token_factor)
    if left < _FAR_OFF:
        what = f"429s show that {left:.0%} of its quota in the file is there"
        yield Trouble(name, what, "lower its rpm or tpm in router.yaml to what Google allows")


def _of_breaker(name: str, breaker: Breaker, parked: int) -> Trouble:
    reason, remedy = _BREAKERS.get(breaker.reason, (breaker.reason, "see the workers' logs"))
    waiting = f", {count(parked, 'job')} waiting" if parked else ""
    return Trouble(
        name,
        f"{reason} since {moment(breaker.since)}: not called until {moment(breaker.open_until)}"
        f"{waiting}",
        remedy,
        is_failure=breaker.reason == "unauthenticated",
    )


def troubles_table(found: Sequence[Trouble]) -> Table:
    """What is not well, for people."""
    table = Table("model", "not well", "what to do", title="models", title_justify="left")
    for trouble in found:
        table.add_row(trouble.model, trouble.what, trouble.remedy)
    return table


def routes_table(routes: Sequence[RouteCounts]) -> Table:
    """How the answers of each route did."""
    table = Table("route")
    for column in ("answers", "repairs", "escalations"):
        table.add_column(column, justify="right")
    for route in routes:
        table.add_row(
            route.name,
            f"{route.answers:,}",
            _share(route.repairs, route.answers),
            _share(route.escalations, route.answers),
        )
    return table


def _share(number: int, answers: int) -> str:
    return f"{number:,} ({number / answers:.1%})" if answers else f"{number:,}"


def moment(when: datetime) -> str:
    """The time of day here; the date too, if it is not today."""
    here = when.astimezone()
    is_today = here.date() == datetime.now().astimezone().date()
    return f"{here:%H:%M:%S}" if is_today else f"{here:%Y-%m-%d %H:%M:%S}"
