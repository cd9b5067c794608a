"""Keys, as they are pressed, without Enter."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Final, Self

_QUIT: Final = (b"q", b"Q", b"\x04")  # ctrl-D too


class Keyboard:
    """Context manager that reads single keys, and leaves the terminal as it was.

    Where stdin is no terminal there are no keys: it only waits.
    """

    def __init__(self) -> None:
        self._fd: int | None = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        if self._fd is not None:
            self._before = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def wait_for_quit(self, timeout_s: float) -> bool:
        """Wait so long, or until somebody wants to end: True."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            if self._fd is None:
                time.sleep(left_s)
            elif select.select([self._fd], [], [], left_s)[0]:
                key = os.read(self._fd, 1)
                if key in _QUIT or not key:
                    return True
        return False
