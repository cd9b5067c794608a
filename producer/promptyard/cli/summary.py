"""What a run came to: frozen, for ``--json`` and for the table."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from promptyard.batch import BatchStatus
from promptyard.cli.tally import Tally, TierTally
from promptyard.formats.jsonl import BadLine
from promptyard.job import JobState, Usage
from promptyard.names import Tier


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TierSummary(_Frozen):
    """One tier's part of a run."""

    jobs: int
    #: Part of all jobs, 0 to 1.
    share: float
    #: Percentiles of the seconds a job spent in model calls, at most 1 % off.
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    usage: Usage
    cost_usd: float


class RunSummary(_Frozen):
    """A run, counted."""

    batch_id: str
    #: None: the results went nowhere but into the store.
    output: Path
    #: Input lines, bad ones included.
    submitted: int
    #: Lines of the output file.
    finished: int
    #: Lines that wait for a higher budget.
    open: int
    #: ``submitted`` minus ``finished`` and ``open``; a run is good if it is 0.
    lost: int
    #: Jobs by final state; bad lines are not jobs.
    states: dict[JobState, int]
    #: Input lines that were no jobs; they are in the output as failed.
    bad: int
    #: The first of them.
    bad_lines: tuple[BadLine, ...]
    tiers: dict[Tier, TierSummary]
    retries: int
    fallbacks: int
    cost_usd: float
    #: The same tokens at the price of one tier for all.
    cost_if_usd: dict[Tier, float]
    #: Jobs answered by the stand-in, not by a model.
    simulated: int
    elapsed_s: float
    #: Whether an earlier run of the same file was taken up.
    continued: bool
    #: The batch, if the run ended because it has spent its budget.
    stopped_at: BatchStatus | None

    @property
    def whole(self) -> bool:
        """Whether every input line has its output line."""
        return self.lost == 0

    @property
    def verdict(self) -> str:
        """The one line to trust."""
        waiting = f", {self.open} wait for a higher budget" if self.open else ""
        return f"{self.submitted} submitted, {self.finished} finished{waiting}, {self.lost} lost"


def summarise(
    tally: Tally,
    *,
    batch_id: str,
    output: Path,
    finished: int,
    retries: int,
    fallbacks: int,
    elapsed_s: float,
    continued: bool,
    stopped_at: BatchStatus | None = None,
    unanswered: int = 0,
) -> RunSummary:
    """Sum up a run that has ended.

    Args:
        tally: what was counted.
        batch_id: of its batch.
        output: where the results are.
        finished: lines written.
        retries: calls that were tried again.
        fallbacks: of them, to another model.
        elapsed_s: how long it took.
        continued: whether there had been an earlier run.
        stopped_at: the batch, if it has spent its budget.
        unanswered: lines that wait for another batch's job.
    """
    waiting = stopped_at.open + unanswered if stopped_at else 0
    return RunSummary(
        batch_id=batch_id,
        output=output,
        submitted=tally.lines,
        finished=finished,
        open=waiting,
        lost=tally.lines - finished - waiting,
        states=dict(tally.states),
        bad=tally.bad_count,
        bad_lines=tuple(tally.bad_lines),
        tiers={
            tier: _tier_summary(counts, tally.results)
            for tier, counts in tally.tiers.items()
            if counts.jobs
        },
        retries=retries,
        fallbacks=fallbacks,
        cost_usd=tally.cost_usd,
        cost_if_usd=dict(tally.cost_if_usd),
        simulated=tally.simulated,
        elapsed_s=round(elapsed_s, 3),
        continued=continued,
        stopped_at=stopped_at,
    )


def _tier_summary(counts: TierTally, all_jobs: int) -> TierSummary:
    return TierSummary(
        jobs=counts.jobs,
        share=counts.jobs / all_jobs,
        p50_s=counts.latency.quantile_s(0.50),
        p95_s=counts.latency.quantile_s(0.95),
        p99_s=counts.latency.quantile_s(0.99),
        usage=counts.usage,
        cost_usd=counts.cost_usd,
    )
