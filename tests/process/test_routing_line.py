"""Every stage on the real line: what decided is on the results, and a reload loses nothing."""

from __future__ import annotations

import json
import os
import signal
from itertools import groupby
from typing import Any, Final

import pytest

from promptyard.job import Decision, Job, JobResult
from promptyard.names import CLASSIFY_CHUNK, CLASSIFY_QUEUE, Tier
from tests.conftest import wait_until
from tests.process.conftest import Yard
from tests.process.policies import ALL_TO_FLASH, FLASH, LITE, PRO, write_policy
from tests.process.test_line import PNG

pytestmark = pytest.mark.process

POLICY: Final[dict[str, Any]] = {
    "rules": [
        {"name": "pictures", "when": {"has": ["image"]}, "tier": "flash"},
        {"name": "invoices", "when": {"metadata": {"kind": "invoice"}}, "route": "lite"},
    ],
    "semantic": {
        "aggregation": "max",
        "threshold": 0.9,
        # a similarity of 0.71 is a probability of 0.9
        "calibration": {"method": "platt", "params": {"a": [20.0], "b": [-12.0]}},
    },
    "judge": {"model": "gemini-2.5-flash-lite", "max_share": 1, "calls_per_minute": 1000},
}
#: What the stand-in's judge says of the two prompts it is asked about.
ANSWER: Final = [
    {"index": "1", "why": "It wants a poem.", "route": "flash", "confidence": 0.8},
    {"index": "2", "why": "It may be a riddle.", "route": "pro", "confidence": 0.1},
]


def turn(role: str, *texts: str, picture: bool = False) -> dict[str, Any]:
    """One turn of a conversation."""
    parts: list[dict[str, Any]] = [{"text": text} for text in texts]
    if picture:
        parts.append({"inlineData": {"mimeType": "image/png", "data": PNG}})
    return {"role": role, "parts": parts}


def conversation(*turns: dict[str, Any]) -> Job:
    """A job of several turns."""
    return Job.model_validate({"contents": list(turns)})


def decision_of(result: JobResult) -> Decision:
    """Of a job that succeeded where it was sent."""
    assert result.ok, result.error
    assert result.decision is not None
    assert (result.tier, result.model) == (result.decision.tier, result.decision.model)
    return result.decision


def routed(yard: Yard, batch_id: str) -> int:
    """Jobs of the batch that have their tier."""
    return sum(tier.routed for tier in yard.producer.status(batch_id).tiers.values())


@pytest.fixture
def decisions(own_yard: Yard) -> dict[str, Decision]:
    """One batch with a prompt for every stage, worked off; what was decided, by its name."""
    version = write_policy(own_yard.folder / "router.yaml", **POLICY)
    own_yard.ready(own_yard.launch(CLASSIFY_QUEUE), own_yard.launch(*Tier))
    jobs = {
        "picture": conversation(turn("user", picture=True)),
        "picture and text": conversation(turn("user", PRO, picture=True)),
        "invoice": Job(contents=PRO, metadata={"kind": "invoice"}),
        "utterance": Job(contents=PRO),
        "conversation": conversation(
            turn("user", FLASH), turn("model", "Dear neighbour, ..."), turn("user", "Shorter.")
        ),
        "judge": Job(contents=f"Zebras hum. [[sim: answer={json.dumps(ANSWER)}]]"),
        "default": Job(contents="Twelve blue moons, and then?"),
        "explicit": Job(contents=LITE, tier=Tier.PRO),
    }
    results = own_yard.run(jobs.values())
    found = {name: decision_of(results[job.id]) for name, job in jobs.items()}
    assert {decision.policy_version for decision in found.values()} == {version}
    return found


def test_every_stage_leaves_its_record(decisions: dict[str, Decision]) -> None:
    """Stage, route or rule, scores, probabilities, margin, neighbours, reason, estimate."""
    assert {name: (found.stage, found.tier) for name, found in decisions.items()} == {
        "picture": ("rules", Tier.FLASH),
        "picture and text": ("rules", Tier.FLASH),
        "invoice": ("rules", Tier.LITE),
        "utterance": ("semantic", Tier.PRO),
        "conversation": ("semantic", Tier.FLASH),
        "judge": ("judge", Tier.FLASH),
        "default": ("default", Tier.LITE),
        "explicit": ("explicit", Tier.PRO),
    }
    assert decisions["picture"].rule == "pictures"
    assert (decisions["invoice"].rule, decisions["invoice"].route) == ("invoices", "lite")
    assert not decisions["invoice"].scores

    semantic = decisions["utterance"]
    assert semantic.route == "pro"
    assert semantic.scores["pro"] == pytest.approx(1, abs=1e-3)
    assert set(semantic.scores) == set(semantic.probabilities) == {"pro", "flash", "lite"}
    assert semantic.probabilities["pro"] > 0.99
    assert semantic.margin is not None
    assert (semantic.nearest[0].route, semantic.nearest[0].utterance) == ("pro", PRO)
    # the last turn alone says nothing: the turns before it are read too
    assert decisions["conversation"].nearest[0].utterance == FLASH

    judged, unsure = decisions["judge"], decisions["default"]
    assert (judged.route, judged.reason) == ("flash", "It wants a poem.")
    assert judged.probabilities["flash"] == pytest.approx(0.8)
    assert (unsure.route, unsure.reason) == (None, "It may be a riddle.")
    for decision in (judged, unsure):  # what the stage before saw stays on the record
        assert set(decision.scores) == {"pro", "flash", "lite"}
        assert decision.nearest
    costs = {name: found.estimated_cost_usd for name, found in decisions.items()}
    assert all(cost for name, cost in costs.items() if name != "explicit"), costs


def test_sighup_in_the_middle_of_a_batch(own_yard: Yard) -> None:
    """Later chunks go by the new file, each chunk by one alone, and every job ends once."""
    yard = own_yard
    path, judge = yard.folder / "router.yaml", {**POLICY["judge"], "threshold": 0}
    old = write_policy(path, stages=["judge"], judge=judge)
    classify = yard.launch(CLASSIFY_QUEUE, concurrency=1)  # so chunks are routed in turn
    yard.ready(classify, yard.launch(*Tier, concurrency=64))
    # the judge is asked about 16 at once, and takes as long as the slowest of them
    slow = " [[sim: latency=500ms]]"
    jobs = [Job(contents=f"Is {n} odd?{'' if n % 16 else slow}") for n in range(640)]
    batch = yard.producer.submit_batch(jobs)
    wait_until(lambda: routed(yard, batch.id) > 0, description="some are routed")
    new = write_policy(path, stages=["rules"], rules=ALL_TO_FLASH)
    os.kill(classify.pid, signal.SIGHUP)
    yard.finish(batch)
    results = {result.id: result for result in yard.producer.results(batch)}
    found = [decision_of(results[job.id]) for job in jobs]
    chunks = [found[n : n + CLASSIFY_CHUNK] for n in range(0, len(found), CLASSIFY_CHUNK)]
    by_chunk = [{decision.policy_version for decision in chunk} for chunk in chunks]
    assert [versions for versions, _ in groupby(by_chunk)] == [{old}, {new}]
    for decision in found:
        stage, rule = ("rules", "all") if decision.policy_version == new else ("judge", None)
        assert (decision.stage, decision.rule) == (stage, rule)
    assert all(yard.calls(job.text) == 1 for job in jobs)
