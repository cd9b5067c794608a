"""A changed router file: every worker takes it up, a bad one is refused, no job notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.job import Job
from promptyard.names import QUEUES, Tier
from promptyard.producer import Producer
from promptyard_worker.routing import load_router
from tests.conftest import wait_until
from tests.process import test_stack
from tests.process.conftest import STOP_S, Yard
from tests.process.policies import MODELS, write_policy
from tests.router_files import put

pytestmark = pytest.mark.process

#: The stand-in serves it; the router file does not name it at first.
NEW_MODEL = "gemini-3.1-flash-lite"
MODELS_AND_NEW = {**MODELS, NEW_MODEL: MODELS["gemini-2.5-flash-lite"]}
REFUSED = "router file is refused"


def versions(producer: Producer) -> set[str]:
    """Of the policies that are in force somewhere."""
    return {card.policy_version for card in producer.workers()}


@pytest.fixture
def yard(own_yard: Yard) -> Yard:
    """One worker a queue, which nobody else uses."""
    write_policy(own_yard.folder / "router.yaml")
    own_yard.ready(*[own_yard.launch(queue) for queue in QUEUES])
    return own_yard


def test_a_changed_file_reaches_every_worker(yard: Yard) -> None:
    """Nobody is told; the workers' cards and the producers' catalog show it."""
    path = yard.folder / "router.yaml"
    assert versions(yard.producer) == {load_router(path).policy_version}
    version = write_policy(path, models=MODELS_AND_NEW)
    wait_until(lambda: versions(yard.producer) == {version}, description="all have the new one")
    catalog = yard.producer.catalog()
    assert catalog is not None
    assert catalog.policy_version == version
    assert NEW_MODEL in catalog.models


def test_a_job_that_names_a_new_model_waits_for_nothing(yard: Yard) -> None:
    """Its workers look at the file at once: the one that routes, and the one that calls."""
    version = write_policy(yard.folder / "router.yaml", models=MODELS_AND_NEW)
    jobs = [Job(contents="a", model=NEW_MODEL), Job(contents="b", model=NEW_MODEL, tier=Tier.LITE)]
    for result in yard.run(jobs).values():
        assert result.ok, result.error
        assert result.model == NEW_MODEL
        assert result.decision is not None
        assert result.decision.policy_version == version


def test_a_bad_file_is_refused_and_sighup_asks_again(own_yard: Yard) -> None:
    """Once aloud, with its place; the old policy works on, and the process is the same one."""
    yard, path = own_yard, own_yard.folder / "router.yaml"
    write_policy(path)
    worker = yard.start()
    (before,) = yard.producer.workers()

    def refusals() -> int:
        return worker.log.read_text().count(REFUSED)

    put(path, f"{path.read_text()}\nnonsense: 2\n")
    wait_until(refusals, description="it is refused")
    assert f"{path}:" in worker.log.read_text()
    assert "nonsense: unknown key" in worker.log.read_text()
    os.kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: refusals() == 2, description="it is refused again")
    result = yard.run_one("What is the capital of France?")
    assert result.ok
    assert result.decision is not None
    assert result.decision.policy_version == before.policy_version
    version = write_policy(path, models=MODELS_AND_NEW)
    os.kill(worker.pid, signal.SIGHUP)
    wait_until(lambda: versions(yard.producer) == {version}, description="the mended one is taken")
    (after,) = yard.producer.workers()
    assert (after.started, after.pid) == (before.started, before.pid)
    assert refusals() == 2


@pytest.fixture
def home(tmp_path: Path) -> Iterator[test_stack.Yard]:
    """A home for ``promptyard up``, with a router file."""
    made = test_stack.Yard(tmp_path)
    write_policy(tmp_path / "router.yaml")
    yield made
    made.close()


def test_up_passes_sighup_on(home: test_stack.Yard) -> None:
    """Each of its workers answers: a refused file is told again."""
    up = home.start("up")
    with Producer(test_stack.wait_for_url(home, up)) as producer:
        logs = [home.home / "logs" / f"worker-{queue}.log" for queue in QUEUES]

        def refusals() -> list[int]:
            return [log.read_text().count(REFUSED) for log in logs]

        before = versions(producer)
        put(home.folder / "router.yaml", "nonsense: [")
        wait_until(lambda: refusals() == [1] * len(logs), description="it is refused")
        up.send_signal(signal.SIGHUP)
        wait_until(lambda: refusals() == [2] * len(logs), description="it is refused again")
        assert versions(producer) == before
    up.terminate()
    _, err = up.communicate(timeout=STOP_S)
    assert up.returncode == 0
    assert "SIGHUP: the workers read the router file" in err


#: Reads on SIGHUP; its arguments say where it runs.
HEARER = """
import fcntl, os, signal, sys, termios, threading
from promptyard_worker.hangup import Hangup
if "terminal" in sys.argv:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
Hangup(lambda: os.write(1, b"reads ")).install()
os.write(1, b"ready ")
while True:
    signal.pause()
"""


class Hearer:
    """A process that heeds SIGHUP, on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._said = folder / "said"
        self._master, terminal = os.openpty()
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HEARER, *arguments],
                stdin=terminal,
                stdout=said,
                start_new_session=True,
            )
        os.close(terminal)
        self.wait_for("ready")

    def wait_for(self, *words: str) -> None:
        """Wait until it has said this, and nothing else."""
        wait_until(lambda: self._said.read_text().split() == [*words], description=f"{words}")

    def close_terminal(self) -> None:
        """Close the window."""
        os.close(self._master)

    def end(self) -> int:
        """End it, if it runs."""
        self.process.kill()
        return self.process.wait()


def test_a_closed_terminal_still_ends_a_process(tmp_path: Path) -> None:
    """While it is open SIGHUP is a wish to read."""
    hearer = Hearer(tmp_path, "terminal")
    hearer.process.send_signal(signal.SIGHUP)
    hearer.wait_for("ready", "reads")
    hearer.close_terminal()
    assert hearer.process.wait(timeout=STOP_S) == -signal.SIGTERM


@pytest.mark.parametrize("argument", ["terminal nohup", ""])
def test_without_a_terminal_to_lose_sighup_only_reads(tmp_path: Path, argument: str) -> None:
    """Under nohup, and as a service."""
    hearer = Hearer(tmp_path, *argument.split())
    hearer.close_terminal()
    if not argument:  # nobody has hung up
        hearer.process.send_signal(signal.SIGHUP)
    hearer.wait_for("ready", "reads")
    assert hearer.end() == -signal.SIGKILL
