"""A child process that is kept running: started again when it dies, up to a point.

One that ends by itself, quickly and every time, has something that only a person can mend: a router
file, a key. One that is killed (by a prompt that crashes it, or for its memory) is started again
each time: the prompt ends as poison after a few workers, and there may be several such prompts.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from promptyard.child import Child, spawn
from promptyard.errors import StackError

#: A process that ran for less than this before it died has died quickly.
_QUICK_S: Final = 30.0
#: So many quick ends of its own in a row, and it is not started again.
_QUICK_EXITS: Final = 5
_BACKOFF_BASE_S: Final = 0.25
_BACKOFF_CAP_S: Final = 5.0
_DOUBLINGS: Final = 10

_log = logging.getLogger(__name__)


class Service:
    """One supervised child."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        linger_s: float = 0.0,
    ) -> None:
        self.name = name
        self.log = log
        self.argv = list(argv)
        self.child: Child | None = None
        self._env = env
        self._linger_s = linger_s
        self._quick_deaths = 0  # in a row, however it died
        self._quick_exits = 0  # in a row, of its own
        self._start_again_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None before it is launched."""
        return self.child.pid if self.child else None

    def launch(self) -> None:
        """Start it; returns at once."""
        self.child = spawn(
            self.name, self.argv, log=self.log, env=self._env, linger_s=self._linger_s
        )

    def expect_alive(self) -> None:
        """While starting: dead is an error, not a reason to try again.

        Raises:
            StackError: it has ended; quotes its log.
        """
        if self.child is not None and (code := self.child.poll()) is not None:
            raise StackError(self._obituary(code))

    def check(self) -> None:
        """Start it again if it has died and its time has come.

        Raises:
            StackError: it has died quickly too often.
        """
        if self.child is None or (code := self.child.poll()) is None:
            return
        now = time.monotonic()
        if self._start_again_s is None:
            self._start_again_s = now + self._count_death(code, now - self.child.started)
        if now >= self._start_again_s:
            self._start_again_s = None
            self.launch()

    def hang_up(self) -> None:
        """Send it SIGHUP, if it runs."""
        if self.child is not None and self.child.poll() is None:
            os.kill(self.child.pid, signal.SIGHUP)

    def stop(self, grace_s: float) -> None:
        """Stop it for good."""
        if self.child is not None:
            self.child.stop(grace_s)
            self.child = None

    def tail(self) -> str:
        """The last lines of its log."""
        return self.child.tail() if self.child else ""

    def _count_death(self, code: int, lived_s: float) -> float:
        """Seconds to wait before it is started again."""
        is_quick, is_killed = lived_s < _QUICK_S, code < 0
        self._quick_deaths = self._quick_deaths + 1 if is_quick else 0
        self._quick_exits = self._quick_exits + 1 if is_quick and not is_killed else 0
        if self._quick_exits >= _QUICK_EXITS:
            raise StackError(
                f"{self._obituary(code)}\nIt ended {_QUICK_EXITS} times within "
                f"{_QUICK_S:g} s of its start; correct the cause and start again."
            )
        _log.warning("%s ended with code %d and is started again", self.name, code)
        return min(_BACKOFF_CAP_S, math.ldexp(_BACKOFF_BASE_S, min(self._quick_deaths, _DOUBLINGS)))

    def _obituary(self, code: int) -> str:
        return f"{self.name} ended with code {code}. End of {self.log}:\n{self.tail()}"
