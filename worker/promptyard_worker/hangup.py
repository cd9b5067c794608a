"""SIGHUP to a worker or to ``promptyard up``: read the router file again.

Where it comes because the terminal has been closed it means what it always did: end, by what
SIGTERM does. Who has no terminal, or runs under nohup, has none to lose.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType


class Hangup:
    """Tells the two meanings apart."""

    def __init__(self, reload: Callable[[], object]) -> None:
        """Nothing is installed yet.

        Args:
            reload: has the file read again; called in the signal handler.
        """
        self._reload = reload
        under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._needs_terminal = has_terminal() and not under_nohup

    def install(self) -> None:
        """Take SIGHUP over; in the main thread."""
        signal.signal(signal.SIGHUP, self._handle)

    def _handle(self, _signum: int, _frame: FrameType | None) -> None:
        if self._needs_terminal and not has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            self._reload()


def has_terminal() -> bool:
    """Whether the process has a terminal that can end it by hanging up."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
