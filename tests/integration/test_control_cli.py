"""Pause, resume, budgets and what is not well, on the command line; a hand plays the workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.names import Tier
from promptyard.store import Store, batches, breakers, feedback, parking, running
from promptyard.store.feedback import Kind
from promptyard.store.parking import Parked
from promptyard.store.quota import Verdict
from promptyard.store.running import Release
from tests.integration.test_budget import billed
from tests.integration.test_control import MODEL, asked, publish
from tests.integration.test_store import claimed, routed

LINES = 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A few prompts."""
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"prompt": "p{n}"}}\n' for n in range(LINES)))
    return path


class Yard:
    """Commands on a Redis, and the worker that a test plays."""

    def __init__(self, url: str, store: Store) -> None:
        self.url = url
        self.store = store
        #: Where the jobs of its batch are parked.
        self.place = ""

    def say(self, *arguments: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(
            build_app(), [*arguments, "--redis-url", self.url], env={"COLUMNS": "250"}
        )

    def ask(self, *arguments: str) -> Any:
        """Run a command that must succeed; what it prints as JSON."""
        said = self.say(*arguments, "--json")
        assert said.exit_code == 0, said.output
        return json.loads(said.stdout)

    def submit(self, file: Path, *, max_cost_usd: float) -> tuple[str, list[str]]:
        """A file's batch with a cap, and the ids of its jobs."""
        batch_id = self.ask("submit", str(file), "--max-cost-usd", str(max_cost_usd))["batch_id"]
        self.place = parking.batch_place(batch_id)
        return batch_id, self.store.do(batches.batch_jobs(batch_id, 0, LINES))

    def work(self, job_id: str, *, may_cost_usd: float, costs_usd: float) -> Verdict:
        """Call the model for a job, if it may be; else park it."""
        routed(self.store, job_id)
        self.store.do(parking.unpark(self.place, [Parked(job_id, "lite", 5)]))
        _, token = claimed(self.store, job_id)
        verdict = asked(self.store, job_id, token, cost_usd=may_cost_usd).verdict
        if verdict is Verdict.GO:
            billed(self.store, job_id, token, costs_usd)
        else:
            to = Release(tier=Tier.LITE, model=MODEL, place=self.place)
            self.store.do(running.release(job_id, token, to, priority=5))
        return verdict


@pytest.fixture
def yard(redis_url: str, store: Store) -> Yard:
    """A yard that knows one model."""
    publish(store)
    return Yard(redis_url, store)


def test_pause_and_resume_say_what_they_did(yard: Yard, file: Path) -> None:
    """Of a batch, a tier, a model; and that there was nothing to do."""
    batch_id, _ = yard.submit(file, max_cost_usd=1)
    places = ([batch_id], ["--tier", "lite"], ["--model", MODEL])
    names = (f"batch {batch_id}", "tier lite", f"model {MODEL}")
    for place, name in zip(places, names, strict=True):
        assert yard.say("pause", *place).stdout == f"{name} paused\n"
        assert yard.say("pause", *place).stdout == f"{name} was paused already\n"
        assert yard.say("resume", *place).stdout == f"{name} resumed\n"
        assert yard.say("resume", *place).stdout == f"{name} was not paused\n"
    assert yard.ask("pause", "--tier", "pro") == {"tier": "pro", "paused": True}
    assert yard.ask("resume", batch_id) == {"batch_id": batch_id, "resumed": False}


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("pause",), 2, "Name one thing"),
        (("pause", "b", "--tier", "pro"), 2, "Name one thing"),
        (("pause", "nothing"), 4, "No batch nothing"),
        (("pause", "--tier", "huge"), 2, "use pro, flash, lite"),
        (("pause", "--model", "gpt-9"), 2, f"the workers know {MODEL}"),
        (("resume", "--tier", "pro", "--max-cost-usd", "1"), 2, "Only a batch"),
        (("submit", __file__, "--max-cost-usd", "0"), 2, "more than 0"),
    ],
)
def test_what_cannot_be_is_refused(
    yard: Yard, arguments: tuple[str, ...], code: int, part: str
) -> None:
    """In one line, with the remedy."""
    said = yard.say(*arguments)
    assert (said.exit_code, said.stderr.count("\n")) == (code, 1)
    assert part in said.stderr


def test_status_shows_why_a_batch_is_paused(yard: Yard, file: Path) -> None:
    """And what ends it; with its cost against the cap."""
    batch_id, (first, *_) = yard.submit(file, max_cost_usd=2)
    assert "$0.0000 of $2.00" in yard.say("status", batch_id).stdout
    yard.say("pause", batch_id)
    said = yard.say("status", batch_id).stdout
    assert f"paused (user): promptyard resume {batch_id} " in said
    assert "to a stronger one" in said
    assert "paused (user)" in yard.say("status").stdout
    assert yard.ask("status", batch_id)["paused"] == "user"
    yard.say("resume", batch_id)
    assert yard.work(first, may_cost_usd=3, costs_usd=3) is Verdict.PAUSED
    said = yard.say("status", batch_id).stdout
    assert f"paused (budget): promptyard resume {batch_id} --max-cost-usd N" in said


def test_resume_says_what_to_give(yard: Yard, file: Path) -> None:
    """Exit code 7; that much is enough."""
    batch_id, (first, second, _) = yard.submit(file, max_cost_usd=2)
    assert yard.work(first, may_cost_usd=1, costs_usd=1.5) is Verdict.GO
    assert yard.work(second, may_cost_usd=1, costs_usd=1.5) is Verdict.PAUSED
    said = yard.say("resume", batch_id, "--max-cost-usd", "2.4")
    assert said.exit_code == 7
    assert "spent $1.50" in said.stderr
    assert "at least $2.50 " in said.stderr
    assert yard.ask("resume", batch_id, "--max-cost-usd", "2.5")["resumed"]


def test_a_run_that_spends_its_budget_is_continued(yard: Yard, file: Path, tmp_path: Path) -> None:
    """Exit code 7 and the results so far; then the rest, by the same command."""
    output = tmp_path / "out.jsonl"
    command = ("run", str(file), "-o", str(output), "--max-cost-usd", "2")
    batch_id, (first, second, third) = yard.submit(file, max_cost_usd=2)
    yard.work(first, may_cost_usd=1, costs_usd=1.5)
    yard.work(second, may_cost_usd=1, costs_usd=1.5)

    said = yard.say(*command)
    assert said.exit_code == 7
    assert "3 submitted, 1 finished, 2 wait for a higher budget, 0 lost" in said.stdout
    assert f"promptyard resume {batch_id} --max-cost-usd N" in said.stderr
    assert "$1.50 of its $2.00 are spent, its next call may cost $1.00, 2 jobs" in said.stderr
    assert "at least $2.50 " in said.stderr
    assert "all of it comes to $4.50" in said.stderr
    part = tmp_path / "out.jsonl.part"
    assert [json.loads(line)["id"] for line in part.read_text().splitlines()] == [first]
    assert not output.exists()
    summary = json.loads(yard.say(*command, "--json").stdout)
    assert (summary["open"], summary["lost"], summary["output"]) == (2, 0, str(part))
    assert summary["stopped_at"]["max_cost_usd"] == 2

    yard.say("resume", batch_id, "--max-cost-usd", "9")
    for job_id in (second, third):
        assert yard.work(job_id, may_cost_usd=1, costs_usd=1.5) is Verdict.GO
    said = yard.say(*command)
    assert said.exit_code == 0, said.output
    assert len(output.read_text().splitlines()) == LINES
    assert yard.ask("status", batch_id)["max_cost_usd"] == 9, "the run's own cap is the older one"


def test_a_higher_budget_on_the_command_line_goes_on_too(
    yard: Yard, file: Path, tmp_path: Path
) -> None:
    """For a stack that lives no longer than its run."""
    batch_id, (first, *_) = yard.submit(file, max_cost_usd=2)
    yard.work(first, may_cost_usd=3, costs_usd=3)
    assert yard.ask("status", batch_id)["paused"] == "budget"
    yard.say("submit", str(file), "--max-cost-usd", "5")
    assert yard.ask("status", batch_id)["paused"] is None


def test_follow_ends_when_the_budget_is_spent(yard: Yard, file: Path) -> None:
    """Exit code 7; it says where to go on."""
    batch_id, (first, second, _) = yard.submit(file, max_cost_usd=2)
    yard.work(first, may_cost_usd=1, costs_usd=1.5)
    yard.work(second, may_cost_usd=1, costs_usd=1.5)
    said = yard.say("follow", batch_id)
    assert said.exit_code == 7
    (result,) = map(json.loads, said.stdout.splitlines())
    assert result["id"] == first
    cursor = said.stderr.rpartition("--cursor ")[2].strip()
    assert yard.say("follow", batch_id, "--cursor", cursor).stdout == ""


def test_cancel_can_leave_calls_in_flight_alone(yard: Yard, file: Path) -> None:
    """They end as they will."""
    batch_id, (first, *_) = yard.submit(file, max_cost_usd=2)
    routed(yard.store, first)
    claimed(yard.store, first)
    assert yard.ask("cancel", batch_id, "--keep-running")["cancelled"] == LINES - 1
    assert yard.ask("cancel", batch_id)["cancelled"] == 1


def test_status_shows_the_models_that_are_not_well(yard: Yard, store: Store) -> None:
    """Above the batches, with what to do; as JSON all of them."""
    assert MODEL not in yard.say("status").stdout
    assert yard.ask("status")["models"][0]["breaker"] is None
    store.do(breakers.trip([MODEL], reason="unauthenticated", for_s=60.0))
    yard.say("pause", "--model", MODEL)
    said = yard.say("status").stdout
    assert "the key is refused since" in said
    assert f"promptyard resume --model {MODEL}" in said
    (model,) = yard.ask("status")["models"]
    assert model["breaker"]["reason"] == "unauthenticated"
    assert model["paused_since"] is not None


@pytest.mark.parametrize(
    ("reason", "verdict", "code", "remedy"),
    [
        ("unauthenticated", "fail", 1, "GEMINI_API_KEY"),
        ("daily quota", "warn", 0, "rpd in router.yaml"),
        ("failures", "warn", 0, "tried again by itself"),
    ],
)
def test_doctor_has_a_remedy_for_each_breaker(
    yard: Yard, store: Store, reason: str, verdict: str, code: int, remedy: str
) -> None:
    """A key that is refused is a failure: it does not pass by itself."""
    store.do(breakers.trip([MODEL], reason=reason, for_s=60.0))
    said = yard.say("doctor", "--json")
    assert said.exit_code == code
    (found,) = (one for one in json.loads(said.stdout) if one["subject"] == MODEL)
    assert found["verdict"] == verdict
    assert remedy in found["remedy"]


def test_doctor_says_when_the_models_are_well(yard: Yard) -> None:
    """In one line."""
    findings = {one["subject"]: one for one in yard.ask("doctor")}
    assert findings["models"]["detail"] == "1, all well"


def test_the_routes_view(yard: Yard, store: Store) -> None:
    """Repairs and escalations as parts of the answers."""
    store.do_many([feedback.add("mail", Kind.ANSWERS, 40), feedback.add("mail", Kind.REPAIRS, 2)])
    (route,) = yard.ask("status", "--routes")
    assert (route["name"], route["answers"], route["repairs"]) == ("mail", 40, 2)
    assert "2 (5.0%)" in yard.say("status", "--routes").stdout
