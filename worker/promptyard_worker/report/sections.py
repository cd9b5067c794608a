"""A report, put together from what was counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from promptyard import __version__
from promptyard.cli.words import count, dollars, seconds, span
from promptyard.job import JobState
from promptyard.names import Tier
from promptyard_worker.report.call_sections import errors, failures, latency, throughput
from promptyard_worker.report.cost_sections import compared, cost
from promptyard_worker.report.gathering import Gathering
from promptyard_worker.report.parts import Report, Section, Table, numbers, share, text
from promptyard_worker.report.routing_sections import least_sure, margins, routes
from promptyard_worker.report.source import Source


def compose(gathered: Gathering, source: Source, prompts: Mapping[str, str] | None) -> Report:
    """Put the report together.

    Args:
        gathered: what was counted.
        source: where the results came from.
        prompts: of the least sure decisions, by job id; None: they are not shown.
    """
    sections = (
        _totals(gathered, source),
        routes(gathered),
        cost(gathered),
        latency(gathered),
        throughput(gathered),
        failures(gathered),
        errors(gathered),
        margins(gathered),
        least_sure(gathered, prompts),
    )
    return Report(
        title="Promptyard report",
        subject=source.name,
        warnings=tuple(_warnings(gathered, source)),
        figures=tuple(_figures(gathered)),
        sections=tuple(section for section in sections if section is not None),
        footer=tuple(_footer(gathered, source)),
    )


def _warnings(gathered: Gathering, source: Source) -> Iterator[str]:
    if gathered.tally.simulated:
        yield (
            f"{count(gathered.tally.simulated, 'answer')} simulated by the stand-in: costs are "
            "what the models would take, latencies are the stand-in's."
        )
    status = source.status
    if status is not None and status.open:
        paused = f", and it is paused ({status.paused})" if status.paused else ""
        yield f"The batch is not done: {count(status.open, 'job')} to go{paused}."
    if source.unreadable:
        yield (
            f"{count(source.unreadable, 'line')} of {source.name} left out: no result can be read "
            f"there (the first is line {source.first_unreadable})."
        )
    if gathered.catalog is None:
        yield "No worker has published its prices yet: nothing can be compared."
    elif set(gathered.policies) - {gathered.catalog.policy_version}:
        yield (
            "Other router files decided (some of) these jobs than the one that prices and quotas "
            f"are taken from ({source.prices_from})."
        )


def _figures(gathered: Gathering) -> Iterator[tuple[str, str, str]]:
    tally, jobs, elapsed_s = gathered.tally, gathered.jobs, gathered.elapsed_s
    answered = tally.states[JobState.SUCCEEDED]
    yield "jobs", f"{jobs:,}", f"{share(answered, jobs)} have an answer"
    others = [
        f"all {tier} {compared(tally.cost_if_usd[tier], tally.cost_usd)}"
        for tier in (Tier.PRO, Tier.FLASH)
        if tier in tally.cost_if_usd
    ]
    yield "cost", dollars(tally.cost_usd), ", ".join(others)
    if jobs:
        yield "cost of 1,000 jobs", dollars(1000 * tally.cost_usd / jobs), ""
    if elapsed_s:
        yield "first to last", span(elapsed_s), f"{jobs / elapsed_s:,.1f} jobs/s"
    calls = gathered.calls
    total = sum(found.calls for found in calls.models.values())
    slowest = [found for found in tally.tiers.values() if found.latency.count]
    if slowest:
        p95_s = max(found.latency.quantile_s(0.95) or 0.0 for found in slowest)
        yield "calls", f"{total:,}", f"95 % within {seconds(p95_s)} on every tier"
    yield "retries", f"{calls.retries:,}", f"{count(calls.moved, 'move')} to another model"


def _totals(gathered: Gathering, source: Source) -> Section:
    states = dict(gathered.tally.states)
    if source.status is not None:
        waiting = source.status.counts.items()
        states |= {state: jobs for state, jobs in waiting if jobs and not state.is_final}
    total = sum(states.values())
    rows = [
        (state, f"{states[state]:,}", share(states[state], total))
        for state in JobState
        if state in states
    ]
    tables = [
        Table("Jobs by state", text("state") + numbers("jobs", "share"), tuple(map(tuple, rows)))
    ]
    if facts := tuple(_facts(gathered, source)):
        tables.append(Table("The batch", text("", " "), facts))
    return Section("Totals", tuple(tables))


def _facts(gathered: Gathering, source: Source) -> Iterator[tuple[str, str]]:
    batches = [source.status.id] if source.status else list(gathered.batches)
    if batches:
        yield "batch", ", ".join(batches)
    if source.status is not None:
        yield from source.status.metadata.items()
        if source.status.max_cost_usd is not None:
            yield "budget", dollars(source.status.max_cost_usd)
    if gathered.began and gathered.ended:
        yield "first job accepted", _moment(gathered.began)
        yield "last job ended", _moment(gathered.ended)


def _footer(gathered: Gathering, source: Source) -> Iterator[str]:
    yield f"Made by promptyard {__version__} on {_moment(datetime.now().astimezone())}."
    if gathered.catalog is not None:
        yield (
            f"Prices and quotas: {source.prices_from}, version {gathered.catalog.policy_version}."
        )
    if gathered.policies:
        named = (f"{name} ({count(jobs, 'job')})" for name, jobs in gathered.policies.items())
        yield f"Decided by router files of version {', '.join(named)}."


def _moment(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M:%S %Z}"
