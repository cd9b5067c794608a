"""A child process that never outlives us by much, however we end.

``PR_SET_PDEATHSIG`` is Linux only, fires when the *thread* that forked ends, and needs
code between fork and exec, which is unsafe in a process with threads. So every child
gets a lifeline instead: a pipe whose write end only we hold. A small ``/bin/sh`` subshell
beside the child reads the other end; when we end in any way, SIGKILL included, the kernel
closes the pipe, and the subshell ends the child. It starts before the child does, so there
is no moment at which the child is alone. It lives in the child's own process group, and a
process id is not given out again while a group of that number exists: so it can never hit
a stranger.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from promptyard.errors import StackError

#: A log larger than this is moved aside (``.1``) before a child appends to it.
_LOG_ROTATE_BYTES: Final = 8_000_000
#: How much of a log's end is read to quote it.
_TAIL_BYTES: Final = 16_384
_POLL_S: Final = 0.01

# "$1": tenths of a second between our end and SIGTERM; 5 s later comes SIGKILL.
# stdin is the lifeline; the child itself gets /dev/null for it, and the subshell holds
# neither the child's stdout nor its other files (a lock may hang on them).
_LAUNCHER: Final = r"""
exec 3<&0 </dev/null
(
  await_end() {
    n=$1
    while [ "$n" -gt 0 ]; do
      kill -0 $$ || exit 0
      sleep 0.1
      n=$((n - 1))
    done
  }
  read -r _ <&3
  await_end "$1"
  kill -TERM $$ || exit 0
  await_end 50
  kill -KILL $$
) >/dev/null 2>&1 &
shift
exec "$@" 3<&-
"""


class Child:
    """A running child process in a session of its own (a terminal's ctrl-C does not reach it).

    Attributes:
        name: what errors and logs call it.
        log: where its stdout and stderr go.
        log_start: size of the log before the start.
        started: ``time.monotonic()`` of the start.
    """

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        *,
        lifeline: int,
        log: Path,
        log_start: int,
    ) -> None:
        self.name = name
        self.log = log
        self.log_start = log_start
        self.started = time.monotonic()
        self._process = process
        self._lifeline: int | None = lifeline

    @property
    def pid(self) -> int:
        """Process id of the program itself, not of a shell around it."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._let_go()
        return code

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); returns at once."""
        if self.poll() is None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self.poll() is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def kill(self) -> None:
        """End it now (SIGKILL), with whatever it started, and wait until it is gone."""
        if self.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._let_go()

    def stop(self, grace_s: float) -> None:
        """End it: SIGTERM, ``grace_s`` to finish its work, SIGKILL."""
        self.terminate()
        if not self.wait(grace_s):
            self.kill()

    def tail(self, lines: int = 12) -> str:
        """The last lines it wrote."""
        return tail(self.log, lines, start=self.log_start)

    def _let_go(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    linger_s: float = 0.0,
    output: BinaryIO | None = None,
) -> Child:
    """Start ``argv`` as a child that ends when we do.

    Safe from any thread.

    Args:
        name: what errors and logs call it.
        argv: the program and its arguments.
        log: file that gets its stdout and stderr, appended.
        env: its whole environment; None: ours.
        linger_s: how long it may go on after our end before it gets SIGTERM (5 s later
            SIGKILL). A server lingers, so that its clients can finish with it.
        output: an open file to use instead of opening ``log``.

    Raises:
        StackError: the program cannot be started.
    """
    reader, writer = os.pipe()
    try:
        with contextlib.ExitStack() as stack:
            sink = output if output is not None else stack.enter_context(open_log(log))
            log_start = sink.seek(0, os.SEEK_END)
            process = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCHER, name, str(round(linger_s * 10)), *argv],
                stdin=reader,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
    except OSError as error:
        os.close(writer)
        raise StackError(
            f"{name} cannot be started ({error}): check {argv[0]}, /bin/sh and {log}."
        ) from None
    except BaseException:
        os.close(writer)  # whatever was started loses its lifeline and ends
        raise
    finally:
        os.close(reader)
    return Child(name, process, lifeline=writer, log=log, log_start=log_start)


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending; a large one is moved aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_ROTATE_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    return path.open("ab", buffering=0)


def tail(path: Path, lines: int, *, start: int = 0) -> str:
    """The last lines of a file, of what comes after ``start``; empty if there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])
