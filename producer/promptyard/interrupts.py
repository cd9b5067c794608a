"""SIGINT, SIGTERM and SIGHUP as one orderly exception.

The first signal raises Stopped in the main thread, once; what follows is clean-up, which
further signals do not tear apart. A shield holds the exception back while processes are
being started or stopped, so that none is started and forgotten; loops under a shield look
at ``count`` themselves (a second ctrl-C there means: now).
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """Someone wants us to end.

    Attributes:
        signum: the signal that said so.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """As a shell would report it: 130 for ctrl-C, 143 for SIGTERM."""
        return 128 + self.signum


class Interrupts:
    """Context manager that owns the three signals; use it in the main thread."""

    def __init__(self) -> None:
        #: Signals received so far.
        self.count = 0
        self._first: int | None = None
        self._shields = 0
        self._raised = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for signum in _SIGNALS:
            previous = signal.getsignal(signum)
            # Under nohup SIGHUP is ignored, and it stays so.
            if previous is not signal.SIG_IGN:
                self._previous[signum] = previous
                signal.signal(signum, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    @contextlib.contextmanager
    def shield(self) -> Iterator[None]:
        """Hold Stopped back until the block is left (it is raised there)."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    def check(self) -> None:
        """Raise Stopped if a signal came and nothing has raised it yet.

        Raises:
            Stopped: once.
        """
        if self._first is not None and not self._shields and not self._raised:
            self._raised = True
            raise Stopped(self._first)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        # No locks here: the handler may interrupt code that holds them.
        self.count += 1
        if self._first is None:
            self._first = signum
        self.check()
