"""The whole stack as subprocesses: it starts, works, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptyard.embedded import running_url
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer
from promptyard_worker.worker import CONCURRENCY
from tests.conftest import wait_until

pytestmark = pytest.mark.process

START_S = 60.0
#: More than the grace of calls in flight (10 s) and what comes after it.
STOP_S = 40.0
#: Calls that the workers of a stack can have in flight.
IN_FLIGHT = sum(CONCURRENCY[tier] for tier in Tier)


class Yard:
    """A home of the test's own, and the commands that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GEMINI", "GOOGLE", "REDIS", "PROMPTYARD"))
        }
        self.environ |= {
            "PROMPTYARD_HOME": str(self.home),
            "PROMPTYARD_SIM_LATENCY_SCALE": "0.02",
            "PROMPTYARD_LEASE_S": "2",
        }
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        process = subprocess.Popen(
            [sys.executable, "-m", "promptyard", *arguments],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a file and give its summary; it must end well."""
        process = self.start("run", *arguments, "--json")
        out, err = process.communicate(timeout=START_S + STOP_S)
        assert process.returncode == 0, err
        summary: dict[str, Any] = json.loads(out)
        return summary

    def processes(self) -> list[int]:
        """Every living process of this home: its environment names it, or it works there.

        Valkey writes its title over its environment, but its working folder is its data.
        """
        marker = f"PROMPTYARD_HOME={self.home}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                named = marker in (folder / "environ").read_bytes().split(b"\0")
                if named or (folder / "cwd").readlink().is_relative_to(self.home):
                    found.append(int(folder.name))
        return found

    def is_empty(self) -> bool:
        """Whether nothing of it runs any more."""
        return not self.processes()

    def kill_everything(self) -> None:
        """SIGKILL for every process of this home, until none is left."""
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self._started:
                process.poll()

    def close(self) -> None:
        """Leave nothing to the next test."""
        self.kill_everything()
        for process in self._started:
            process.communicate()


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """An empty yard; tests of it read /proc."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc to find processes")
    made = Yard(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sim() -> Iterator[SimServer]:
    """A stand-in that outlives the stacks, and counts the calls of each prompt."""
    with SimServer(SimConfig(latency_scale=0.05)) as server:
        yield server


def write_prompts(folder: Path, count: int) -> Path:
    """A file of short prompts, each named after its number."""
    path = folder / "in.jsonl"
    lines = [
        json.dumps({"prompt": f"Is {n} odd or even?", "custom_id": f"n{n}"}) for n in range(count)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def read_results(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a result file, or of the part of one."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def wait_for_url(yard: Yard, up: subprocess.Popen[str]) -> str:
    """The REDIS_URL that ``up`` prints when it is ready."""
    assert up.stdout is not None
    line = up.stdout.readline()
    assert line.startswith("export REDIS_URL="), up.stderr and up.stderr.read()
    assert running_url(yard.home) is not None
    return line.strip().removeprefix("export REDIS_URL=")


def test_a_run_brings_up_what_it_needs_and_takes_it_down(yard: Yard) -> None:
    """One output line per input line, custom_id kept, bad lines as failed, no process left."""
    source = write_prompts(yard.folder, 40)
    with source.open("a") as file:
        file.write('nonsense\n{"prompt": "again", "custom_id": "n0"}\n')
    summary = yard.run(str(source), "-o", "out.jsonl")
    assert (summary["submitted"], summary["finished"], summary["lost"]) == (42, 42, 0)
    assert (summary["states"], summary["bad"]) == ({"succeeded": 40}, 2)
    assert summary["simulated"] == 40
    results = read_results(yard.folder / "out.jsonl")
    assert sorted(one["line"] for one in results) == list(range(1, 43))
    names = {one["custom_id"] for one in results if one["status"] == "succeeded"}
    assert names == {f"n{n}" for n in range(40)}
    wait_until(yard.is_empty, description="no process is left")


def test_a_second_run_of_the_same_file_calls_nothing(yard: Yard, sim: SimServer) -> None:
    """Its results come from the store; --fresh calls again."""
    yard.environ |= {"GOOGLE_GEMINI_BASE_URL": sim.url, "GEMINI_API_KEY": "x"}
    source = write_prompts(yard.folder, 10)
    yard.run(str(source), "-o", "one.jsonl")
    calls = sim.stats()["calls"]
    again = yard.run(str(source), "-o", "two.jsonl")
    assert again["continued"]
    assert sim.stats()["calls"] == calls == 10
    one, two = (
        sorted((yard.folder / name).read_text().splitlines()) for name in ("one.jsonl", "two.jsonl")
    )
    assert one == two
    assert not yard.run(str(source), "-o", "three.jsonl", "--fresh")["continued"]
    assert sim.stats()["calls"] == 20


def test_a_run_after_a_sigkill_of_everything_continues(yard: Yard, sim: SimServer) -> None:
    """No job is lost, and none that had a result is called again."""
    yard.environ |= {"GOOGLE_GEMINI_BASE_URL": sim.url, "GEMINI_API_KEY": "x"}
    source = write_prompts(yard.folder, 600)
    yard.start("run", str(source), "-o", "out.jsonl", "--quiet")
    part = yard.folder / "out.jsonl.part"
    wait_until(lambda: len(read_results(part)) >= 20, description="some results", timeout_s=START_S)
    yard.kill_everything()
    before = {one["id"]: one for one in read_results(part)}
    assert 20 <= len(before) < 600

    summary = yard.run(str(source), "-o", "out.jsonl")
    assert summary["continued"]
    assert (summary["submitted"], summary["finished"], summary["lost"]) == (600, 600, 0)
    after = {one["id"]: one for one in read_results(yard.folder / "out.jsonl")}
    assert len(after) == 600
    assert {key: after[key] for key in before} == before
    # only calls that were in flight at the kill are made again
    assert sim.stats()["prompts_called_more_than_once"] <= IN_FLIGHT
    assert sim.stats()["calls"] <= 600 + IN_FLIGHT


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.8, 1.2, 2.0, 3.0])
def test_sigterm_while_it_starts_leaves_nothing(yard: Yard, delay_s: float) -> None:
    """At whatever moment of the start the signal comes."""
    up = yard.start("up")
    with contextlib.suppress(subprocess.TimeoutExpired):
        up.wait(delay_s)  # not a wait for something: the moment is what is tested
    up.send_signal(signal.SIGTERM)
    up.communicate(timeout=STOP_S)
    assert up.returncode in (0, -signal.SIGTERM)  # -15: before our handler was there
    wait_until(yard.is_empty, description="no process is left")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_up_cleanly(yard: Yard, signum: signal.Signals) -> None:
    """Exit code 0, no process left, and the home can be used again."""
    up = yard.start("up")
    wait_for_url(yard, up)
    up.send_signal(signum)
    up.communicate(timeout=STOP_S)
    assert up.returncode == 0
    wait_until(yard.is_empty, description="no process is left", timeout_s=2)


def test_sigterm_stops_a_run_and_the_next_continues(yard: Yard) -> None:
    """Exit code 143, no process left; what had finished is kept."""
    source = write_prompts(yard.folder, 800)
    run = yard.start("run", str(source), "-o", "out.jsonl")
    part = yard.folder / "out.jsonl.part"
    wait_until(lambda: len(read_results(part)) >= 20, description="some results", timeout_s=START_S)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=STOP_S)
    assert run.returncode == 128 + signal.SIGTERM
    assert "the same command continues" in err
    wait_until(yard.is_empty, description="no process is left", timeout_s=2)
    assert not (yard.folder / "out.jsonl").exists()
    summary = yard.run(str(source), "-o", "out.jsonl")
    assert (summary["continued"], summary["finished"], summary["lost"]) == (True, 800, 0)


def test_what_up_started_ends_when_up_is_killed(yard: Yard) -> None:
    """A SIGKILL of the parent alone; its children notice by themselves."""
    up = yard.start("up")
    wait_for_url(yard, up)
    up.kill()
    up.wait()
    wait_until(yard.is_empty, description="no process is left", timeout_s=STOP_S)


def test_a_worker_that_dies_is_started_again(yard: Yard) -> None:
    """Under the same queue, as another process."""
    up = yard.start("up")
    with Producer(wait_for_url(yard, up)) as producer:

        def pro_pids() -> set[int]:
            return {card.pid for card in producer.workers() if card.queues == ("pro",)}

        (before,) = pro_pids()
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: pro_pids() - {before}, description="a new pro worker", timeout_s=START_S)


def test_a_worker_that_cannot_start_is_quoted(yard: Yard) -> None:
    """Exit code 6, the end of its log with the reason, nothing left running."""
    (yard.folder / "tokenizers.py").write_text("raise RuntimeError('half an installation')")
    up = yard.start("up")
    _, err = up.communicate(timeout=START_S + STOP_S)
    assert up.returncode == 6
    assert "worker-classify" in err
    assert "half an installation" in err
    wait_until(yard.is_empty, description="no process is left")


def test_a_bad_router_file_starts_nothing(yard: Yard) -> None:
    """Exit code 2 and one line that names the place."""
    (yard.folder / "router.yaml").write_text("nonsense: [")
    up = yard.start("up")
    _, err = up.communicate(timeout=START_S + STOP_S)
    assert up.returncode == 2
    assert "router.yaml:1" in err
    assert not (yard.home / "valkey").exists()


@pytest.mark.parametrize("is_named", [True, False], ids=["by REDIS_URL", "by its home"])
def test_run_uses_the_stack_that_up_started(yard: Yard, is_named: bool) -> None:
    """Nothing is started, and nothing is stopped."""
    up = yard.start("up")
    url = wait_for_url(yard, up)
    if is_named:
        yard.environ["REDIS_URL"] = url
    running = len(yard.processes())
    summary = yard.run(str(write_prompts(yard.folder, 10)), "-o", "out.jsonl")
    assert summary["lost"] == 0
    assert len(yard.processes()) == running
