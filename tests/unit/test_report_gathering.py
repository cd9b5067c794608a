"""What a report counts of results, and that it does not grow with them."""

from __future__ import annotations

import tracemalloc

from promptyard.job import ErrorType, JobResult, JobState
from promptyard.names import Tier
from promptyard_worker.report.bounded import OTHERS
from promptyard_worker.report.calls import NOT_CALLED, Followed
from promptyard_worker.report.gathering import Gathering
from promptyard_worker.report.margins import LEAST_SURE
from tests.report_results import CATALOG, FLASH, LITE, PRO, call, decision, result


def gathered(*results: JobResult) -> Gathering:
    """Count some results."""
    made = Gathering(CATALOG)
    for one in results:
        made.add(one)
    return made


def test_routes_and_stages_are_those_of_the_decision() -> None:
    """A route by its name, what no route decided by its stage; the tier is the decided one."""
    found = gathered(
        result(1),
        result(2, decided=decision(Tier.PRO, route=None, stage="default")),
        result(3, decided=decision(Tier.PRO, route=None, stage="default"), error=ErrorType.TIMEOUT),
    )
    assert found.routes["lite"].tiers == {Tier.LITE: 1}
    assert (found.routes["(default)"].jobs, found.routes["(default)"].unanswered) == (2, 1)
    assert found.stages["default"].total() == 2


def test_a_job_without_a_decision_is_counted_apart() -> None:
    """A line that was no job, a job that was cancelled before it was routed."""
    bad = JobResult(id="bad", status=JobState.FAILED, line=7)
    found = gathered(bad, result(1))
    assert (found.jobs, found.unrouted, found.tally.untiered) == (2, 1, 1)
    assert found.errors[JobState.FAILED, None].first == "line 7, bad"


def test_a_failed_call_is_counted_by_what_followed() -> None:
    """The same model, another one, or nothing."""
    found = gathered(
        result(1, calls=[call(error=ErrorType.SERVER_ERROR), call()]),
        result(2, calls=[call(error=ErrorType.EMPTY_RESPONSE), call(FLASH)]),
        result(3, calls=[call(error=ErrorType.SAFETY)], error=ErrorType.SAFETY),
    ).calls
    assert found.failures[ErrorType.SERVER_ERROR] == {Followed.AGAIN: 1}
    assert found.failures[ErrorType.EMPTY_RESPONSE] == {Followed.MOVED: 1}
    assert found.failures[ErrorType.SAFETY] == {Followed.ENDED: 1}
    assert found.moves == {f"{LITE} → {FLASH}": {ErrorType.EMPTY_RESPONSE: 1}}
    assert (found.retries, found.moved) == (2, 1)


def test_waiting_for_quota_is_no_retry() -> None:
    """As batches count: a 429 burns no attempt."""
    found = gathered(result(1, calls=[call(error=ErrorType.QUOTA_EXCEEDED), call()])).calls
    assert (found.retries, found.waits) == (0, 1)


def test_a_model_that_was_never_called_was_avoided() -> None:
    """Its breaker was open: the job went on without a call."""
    found = gathered(result(1, calls=[call(FLASH)])).calls
    assert found.moves == {f"{LITE} → {FLASH}": {NOT_CALLED: 1}}


def test_a_lost_worker_says_nothing_of_latency() -> None:
    """Nobody saw how long its call took; it is a failed call all the same."""
    lost = call(error=ErrorType.WORKER_LOST, duration_s=900)
    found = gathered(result(1, calls=[lost, call()])).calls.models[LITE]
    assert (found.calls, found.failed, found.latency.count) == (2, 1, 1)


def test_latency_has_three_stations() -> None:
    """To the first call, in calls, to the end; a job without a call has the last only."""
    found = gathered(
        result(1, calls=[call(at_s=4.0, duration_s=2.0)]),
        result(2, calls=[], status=JobState.EXPIRED, error=ErrorType.EXPIRED),
    )
    stations = found.stations[Tier.LITE]
    assert round(stations.waiting.quantile_s(0.5) or 0) == 4
    assert round(found.tally.tiers[Tier.LITE].latency.quantile_s(0.5) or 0) == 2
    assert (stations.whole.count, stations.waiting.count) == (2, 1)
    assert found.elapsed_s == 10


def test_the_least_sure_are_kept_and_in_order() -> None:
    """Those with the smallest margins; of equal ones, those that came first."""
    margins = [0.5, 0.0, *(0.1 + n / 1000 for n in range(50)), 0.0]
    found = gathered(
        *(result(n, decided=decision(margin=margin)) for n, margin in enumerate(margins))
    ).margins
    kept = found.least_sure()
    assert [one.job_id for one in kept[:3]] == ["job-1", "job-52", "job-2"]
    assert len(kept) == LEAST_SURE
    assert kept[0].scores == "lite 0.800, flash 0.600"


def test_margins_are_counted_by_stage() -> None:
    """Without a margin there is nothing to count; odd ones are in the outer bins."""
    found = gathered(
        result(1, decided=decision(margin=None, stage="rules")),
        result(2, decided=decision(margin=0.07)),
        result(3, decided=decision(margin=1.9, stage="learned")),
        result(4, decided=decision(margin=-0.1, stage="learned")),
    ).margins
    assert found.count == 3
    assert found.stages == {"semantic": {1: 1}, "learned": {19: 1, 0: 1}}


def hostile(number: int) -> JobResult:
    """A result in which every name is its own."""
    decided = decision(route=f"r{number}", stage=f"s{number}", margin=number / 1e6)
    mine = decided.model_copy(update={"model": f"w{number}", "policy_version": f"p{number}"})
    one = result(number, decided=mine, calls=[call(f"m{number}", at_s=number)])
    return one.model_copy(update={"batch_id": f"b{number}"})


def test_memory_does_not_grow_with_results() -> None:
    """Not even if every name is new."""
    made = Gathering(CATALOG)
    for number in range(2_000):
        made.add(hostile(number))
    tracemalloc.start()
    try:
        for number in range(2_000, 6_000):
            made.add(hostile(number))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 200_000
    assert made.routes[OTHERS].jobs > 5_000
    assert made.policies[OTHERS] > 5_000
    assert made.tally.cost_if_usd[Tier.PRO] > 0
    assert PRO not in made.calls.models
