"""A child ends with its parent, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from promptyard.child import Child, spawn
from promptyard.errors import StackError
from tests.conftest import wait_until

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('deaf', flush=True); time.sleep(600)",
]
PARENT = """
import sys, time
from pathlib import Path
from promptyard.child import spawn
child = spawn("sleeper", sys.argv[2:], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


def group(pid: int) -> list[int]:
    """Living processes in the group of a child: itself, and the shell that watches."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == pid and not row[2].startswith("Z")]


def gone(child_pid: int) -> None:
    """Wait until nothing is left of a child."""
    wait_until(lambda: not group(child_pid), description="the child's group is gone")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log file."""
    return tmp_path / "child.log"


def test_the_pid_is_the_programs(log: Path) -> None:
    """Not that of a shell around it: workers are recognised by it."""
    child = spawn("echo", [sys.executable, "-c", "import os; print(os.getpid())"], log=log)
    assert child.wait(20)
    assert log.read_text().split() == [str(child.pid)]
    gone(child.pid)


def test_arguments_environment_and_exit_code_pass(log: Path) -> None:
    """Spaces, quotes and empty arguments arrive as they are."""
    code = "import os, sys; print(sys.argv[1:], os.environ['X']); sys.exit(3)"
    arguments = ["a b", "", "'\"$HOME"]
    child = spawn("echo", [sys.executable, "-c", code, *arguments], log=log, env={"X": "y"})
    assert child.wait(20)
    assert child.poll() == 3
    assert child.tail() == f"{arguments} y"


def test_stop_leaves_nothing(log: Path) -> None:
    """Neither the child nor the shell that watched it."""
    child = spawn("sleeper", SLEEPER, log=log, linger_s=60)
    child.stop(grace_s=20)
    assert child.poll() == -signal.SIGTERM
    gone(child.pid)


def test_a_child_deaf_to_sigterm_is_killed(log: Path) -> None:
    """After its grace."""
    child = spawn("stubborn", STUBBORN, log=log)
    wait_until(lambda: "deaf" in child.tail(), description="the handler is set")
    child.stop(grace_s=0.1)
    assert child.poll() == -signal.SIGKILL
    gone(child.pid)


def test_a_thread_may_start_a_child(log: Path) -> None:
    """And the child does not end with the thread."""
    started: list[Child] = []
    thread = threading.Thread(target=lambda: started.append(spawn("sleeper", SLEEPER, log=log)))
    thread.start()
    thread.join()
    (child,) = started
    assert not child.wait(0.3)
    child.stop(grace_s=20)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("program", [SLEEPER, STUBBORN], ids=["sleeper", "stubborn"])
def test_a_child_ends_when_its_parent_is_killed(
    log: Path, program: list[str], signum: signal.Signals
) -> None:
    """A SIGKILL leaves the parent no time to clean up; the lifeline does it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log), *program], stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        assert child_pid in group(child_pid)
        parent.send_signal(signum)
        parent.wait(20)
        gone(child_pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.communicate()


def test_a_program_that_is_not_there_is_said_in_the_log(log: Path) -> None:
    """The exit code is the shell's 127, the log says why."""
    child = spawn("nothing", ["/no/such/program"], log=log)
    assert child.wait(20)
    assert child.poll() == 127
    assert "/no/such/program" in child.tail()


def test_a_log_that_cannot_be_written_is_an_error() -> None:
    """With the path."""
    with pytest.raises(StackError, match="/proc/nowhere"):
        spawn("nothing", SLEEPER, log=Path("/proc/nowhere/child.log"))
