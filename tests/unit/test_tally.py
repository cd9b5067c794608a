"""What a run counts, and what it comes to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from promptyard.catalog import Catalog, LongContextPrice, ModelCard, Price
from promptyard.cli.summary import RunSummary, summarise
from promptyard.cli.tally import BAD_LINES_SHOWN, Tally
from promptyard.formats.jsonl import BadLine
from promptyard.job import Attempt, JobResult, JobState, Usage
from promptyard.names import Tier

CATALOG = Catalog(
    policy_version="p",
    tier_models={Tier.PRO: "big", Tier.LITE: "small"},
    models={
        "big": ModelCard(
            tier=Tier.PRO,
            price=Price(
                input=1.0,
                output=10.0,
                long_context=LongContextPrice(input=2.0, output=20.0, above_tokens=1000),
            ),
        ),
        "small": ModelCard(tier=Tier.LITE, price=Price(input=0.1, output=1.0)),
    },
)


def result(tier: Tier | None, *, call_s: float = 1.0, prompt_tokens: int = 100) -> JobResult:
    """A result of one successful simulated call."""
    return JobResult(
        id="j",
        status=JobState.SUCCEEDED if tier else JobState.CANCELLED,
        tier=tier,
        model_version="small-simulated",
        attempts=(Attempt(model="small", started=datetime.now(UTC), duration_s=call_s),),
        usage=Usage(prompt_tokens=prompt_tokens, output_tokens=10, thinking_tokens=5),
        cost_usd=0.25,
    )


def summary(tally: Tally, finished: int) -> RunSummary:
    """Sum up a tally."""
    return summarise(
        tally,
        batch_id="b",
        output=Path("out.jsonl"),
        finished=finished,
        retries=0,
        fallbacks=0,
        elapsed_s=1.0,
        continued=False,
    )


def test_the_same_tokens_are_priced_per_call() -> None:
    """All-pro prices each call by itself, so that the long-context rate hits only long ones."""
    tally = Tally(CATALOG)
    tally.add_result(result(Tier.LITE, prompt_tokens=100))
    tally.add_result(result(Tier.LITE, prompt_tokens=2000))
    expected = (100 * 1 + 15 * 10 + 2000 * 2 + 15 * 20) / 1e6
    assert abs(tally.cost_if_usd[Tier.PRO] - expected) < 1e-12
    assert Tier.FLASH not in tally.cost_if_usd


def test_tiers_states_and_simulated_answers_are_counted() -> None:
    """Each result is counted once, also one that never got a tier."""
    tally = Tally(None)
    for tier in (Tier.PRO, Tier.LITE, Tier.LITE, None):
        tally.add_result(result(tier))
    found = summary(tally, 4)
    assert {tier: part.jobs for tier, part in found.tiers.items()} == {"pro": 1, "lite": 2}
    assert found.tiers[Tier.LITE].share == 0.5
    assert found.tiers[Tier.LITE].usage.output_tokens == 20
    assert found.states == {JobState.SUCCEEDED: 3, JobState.CANCELLED: 1}
    assert found.simulated == 4
    assert found.cost_if_usd == {}


def test_lost_is_what_has_no_line_in_the_output() -> None:
    """The verdict compares input lines with output lines."""
    tally = Tally(None)
    for _ in range(3):
        tally.add_line()
    assert summary(tally, 3).verdict == "3 submitted, 3 finished, 0 lost"
    assert summary(tally, 3).whole
    assert summary(tally, 2).verdict == "3 submitted, 2 finished, 1 lost"
    assert not summary(tally, 2).whole


def test_bad_lines_are_shown_up_to_a_number() -> None:
    """A million bad lines are counted, ten are kept."""
    tally = Tally(None)
    for line in range(1, 50):
        tally.add_bad_line(BadLine(line=line, custom_id=str(line), message="no prompt"))
    found = summary(tally, 0)
    assert found.bad == 49
    assert [bad.line for bad in found.bad_lines] == list(range(1, BAD_LINES_SHOWN + 1))
