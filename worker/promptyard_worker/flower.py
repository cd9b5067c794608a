"""Flower beside our workers: https://flower.readthedocs.io."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from promptyard.errors import SettingsError, StackError
from promptyard_worker.service import Service

FLOWER_PORT: Final = 5555
#: Flower's own variable for another one.
PORT_VARIABLE: Final = "FLOWER_PORT"
FLOWER_GRACE_S: Final = 5.0
#: A worker that has gone is shown for so long; each start of one has a name of its own.
OFFLINE_S: Final = 3600
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def flower_command(*, address: str = "127.0.0.1", port: int = FLOWER_PORT) -> list[str]:
    """The line that starts Flower; a user and password come from ``FLOWER_BASIC_AUTH``.

    It may look, not touch: what it would revoke or send, our records know nothing of.
    """
    celery = [sys.executable, "-m", "celery", "--app", "promptyard_worker.flower_app", "flower"]
    what = ["--read_only", f"--purge_offline_workers={OFFLINE_S}"]
    return [*celery, f"--address={address}", f"--port={port}", *what]


def run_flower(redis_url: str, *, host: str, port: int) -> NoReturn:
    """Become Flower.

    Raises:
        StackError: it is not installed.
        SettingsError: it would listen to others without a password.
    """
    _expect_installed()
    if host not in LOOPBACK and not os.environ.get("FLOWER_BASIC_AUTH"):
        raise SettingsError(
            f"Flower at {host} is open to others, who could stop workers: set "
            "FLOWER_BASIC_AUTH=user:password (or FLOWER_BASIC_AUTH_FILE), or leave --host away."
        )
    command = flower_command(address=host, port=port)
    os.execve(command[0], command, {**os.environ, "REDIS_URL": redis_url})  # noqa: S606


def flower_service(log: Path, environ: Mapping[str, str]) -> Service:
    """Flower on this machine only, kept running.

    Raises:
        StackError: it is not installed.
    """
    _expect_installed()
    return Service("flower", flower_command(port=_port(environ)), log=log, env=environ)


def flower_url(environ: Mapping[str, str]) -> str:
    """Where that Flower is."""
    return f"http://127.0.0.1:{_port(environ)}"


def _port(environ: Mapping[str, str]) -> int:
    text = environ.get(PORT_VARIABLE) or str(FLOWER_PORT)
    if not text.isdecimal():
        raise SettingsError(f"{PORT_VARIABLE}={text} is no port: write a number, or unset it.")
    return int(text)


def _expect_installed() -> None:
    if importlib.util.find_spec("flower") is None:
        raise StackError("Flower is not installed: pip install 'promptyard[flower]'.")
