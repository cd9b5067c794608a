"""The stand-in model server as a child process."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from promptyard.errors import SettingsError, StackError
from promptyard_worker.service import Service

#: Latency of the local stack's stand-in: 1 is real latency, 0 none.
LATENCY_VARIABLE: Final = "PROMPTYARD_SIM_LATENCY_SCALE"
#: Ten times as quick as the models: a first try of a few thousand prompts takes a minute.
DEFAULT_LATENCY_SCALE: Final = 0.1
_ANNOUNCED: Final = re.compile(r"GOOGLE_GEMINI_BASE_URL=http://[^:\s]+:(\d+)\s")
_START_TIMEOUT_S: Final = 30.0
_STOP_S: Final = 3.0
#: It outlives us so long, that workers which are also ending get their answers.
_LINGER_S: Final = 4.0
_POLL_S: Final = 0.02


class StandIn:
    """Simulated models on a free loopback port."""

    def __init__(self, log: Path, *, latency_scale: float | None = None) -> None:
        self._log = log
        self._scale = _latency_scale() if latency_scale is None else latency_scale
        self._service: Service | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Its base URL, once started."""
        return f"http://127.0.0.1:{self._port}"

    def launch(self) -> None:
        """Start it; returns at once."""
        self._service = Service(
            "stand-in", self._argv(port=0), log=self._log, env=_environ(), linger_s=_LINGER_S
        )
        self._service.launch()

    def wait(self, signals: Callable[[], int]) -> bool:
        """Wait until it serves. False: a signal came first.

        Raises:
            StackError: it does not start; quotes its log.
        """
        if self._service is None:
            raise StackError("The stand-in is not launched: call launch() first.")
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._port:
            if signals():
                return False
            self._service.expect_alive()
            if time.monotonic() > deadline:
                raise StackError(
                    f"The stand-in did not start. End of {self._log}:\n{self._service.tail()}"
                )
            time.sleep(_POLL_S)
            self._port = _announced_port(self._service.tail())
        # Started again after a death, it must be where its clients look for it.
        self._service.argv = self._argv(port=self._port)
        return True

    def check(self) -> None:
        """Start it again if it has died.

        Raises:
            StackError: it dies over and over.
        """
        if self._service:
            self._service.check()

    def stop(self) -> None:
        """Stop it."""
        if self._service:
            self._service.stop(_STOP_S)
            self._service = None
            self._port = 0

    def _argv(self, *, port: int) -> list[str]:
        module = [sys.executable, "-m", "promptyard_worker.sim"]
        return [*module, "--port", str(port), "--latency-scale", f"{self._scale:g}"]


def _announced_port(output: str) -> int:
    """The port in what it wrote; 0 if it has not said so yet."""
    found = _ANNOUNCED.search(output)
    return int(found[1]) if found else 0


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _latency_scale() -> float:
    text = os.environ.get(LATENCY_VARIABLE) or f"{DEFAULT_LATENCY_SCALE:g}"
    try:
        scale = float(text)
    except ValueError:
        scale = -1.0
    if not scale >= 0:
        raise SettingsError(f"{LATENCY_VARIABLE}={text}: give a number, 1 for real latency.")
    return scale
