"""Answers that must meet a schema: validated, repaired once, then asked of a stronger model."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptyard.embedded import EmbeddedServer
from promptyard.job import ErrorType, Job, JobState
from promptyard.names import Tier
from promptyard.store import feedback
from promptyard_worker.sim.fault import Fault
from tests.conftest import wait_until
from tests.process.conftest import Yard, new_sim

pytestmark = pytest.mark.process

PRO, FLASH, LITE = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}},
    "required": ["age"],
}


def asked(text: str) -> Job:
    """A lite job with the schema."""
    return Job(contents=text, tier=Tier.LITE, response_schema=SCHEMA)


def test_a_valid_answer_is_parsed(yard: Yard) -> None:
    """One call; the JSON is on the result."""
    result = yard.run_one(asked('How old? [[sim: answer={"age": 7}]]'))
    assert result.status is JobState.SUCCEEDED
    assert result.parsed == {"age": 7}
    assert len(result.attempts) == 1


def test_an_answer_that_is_no_json_is_repaired(tmp_path: Path) -> None:
    """The second call, of the same model, is told what was wrong; both are paid."""
    with (
        new_sim(faults={Fault("badjson"): 0.5}) as sim,
        EmbeddedServer(tmp_path, persist=False) as server,
    ):
        yard = Yard(tmp_path, server.url, sim)
        for tier in Tier:
            yard.launch(tier)
        results = yard.run([asked(f"How old is number {n}?") for n in range(30)]).values()
        yard.close()
    repaired = [one for one in results if [call.model for call in one.attempts] == [LITE, LITE]]
    assert repaired
    for result in repaired:
        assert result.status is JobState.SUCCEEDED
        assert result.parsed["age"] >= 0
        first = result.attempts[0].error
        assert first is not None
        assert first.type is ErrorType.SCHEMA_MISMATCH
        assert result.cost_usd == pytest.approx(sum(one.cost_usd for one in result.attempts))


def test_an_answer_against_the_schema_goes_up_the_tiers(yard: Yard) -> None:
    """JSON, but not what was asked, from every model: two calls each, then it fails with why."""
    job = asked('How old is he? [[sim: answer={"age": -1}]]')
    batch = yard.producer.submit_batch([job])
    status = yard.finish(batch)
    (result,) = yard.producer.results(batch)
    assert result.status is JobState.FAILED
    assert [one.model for one in result.attempts] == [LITE] * 2 + [FLASH] * 2 + [PRO] * 2
    assert result.error is not None
    assert result.error.type is ErrorType.SCHEMA_MISMATCH
    assert "age" in result.error.message
    assert status.escalations == 2


def test_repairs_and_escalations_are_counted_by_route(yard: Yard) -> None:
    """They are feedback about routing."""
    before = yard.store.do(feedback.counts())
    job = Job(contents="Say how old. [[sim: badjson]]", response_schema=SCHEMA)
    result = yard.run_one(job)
    assert result.decision is not None
    route = result.decision.route or f"({result.decision.stage} {result.decision.tier})"

    def counted(kind: feedback.Kind) -> int:
        now = yard.store.do(feedback.counts())
        return now.get(route, {}).get(kind, 0) - before.get(route, {}).get(kind, 0)

    wait_until(lambda: counted(feedback.Kind.REPAIRS) >= 1, description="the repair is told")
    escalated = len({one.model for one in result.attempts}) - 1
    wait_until(
        lambda: counted(feedback.Kind.ESCALATIONS) == escalated,
        description="the escalations are told",
    )


def test_a_schema_that_is_none_fails_before_any_call(yard: Yard) -> None:
    """Nothing is paid for it."""
    job = Job(contents="Nonsense.", tier=Tier.LITE, response_schema={"type": "nonsense"})
    result = yard.run_one(job)
    assert result.status is JobState.FAILED
    assert result.error is not None
    assert result.error.type is ErrorType.INVALID_REQUEST
    assert result.attempts == ()
    assert yard.calls(job.text) == 0
