"""What a chaos test needs, and its figures at the end of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.process.conftest import RestartableServer

_FIGURES: Final = pytest.StashKey[list[dict[str, Any]]]()


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[RestartableServer]:
    """A Valkey that loses nothing that it has said is done."""
    server = RestartableServer(tmp_path / "restartable", appendfsync="always")
    yield server
    server.kill()


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[dict[str, Any]], None]:
    """Has figures printed at the end of the run, whatever becomes of the test."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One JSON line a test."""
    for figures in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(json.dumps(figures))
