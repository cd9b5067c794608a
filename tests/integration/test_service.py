"""A supervised process: started again when it dies, given up when it dies at once each time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.errors import StackError
from promptyard_worker import service as service_module
from promptyard_worker.service import Service
from tests.conftest import wait_until

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
DYING = [sys.executable, "-S", "-c", "print('the reason', flush=True); raise SystemExit(3)"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No need to wait as long as in earnest."""
    monkeypatch.setattr(service_module, "_BACKOFF_BASE_S", 0.01)
    monkeypatch.setattr(service_module, "_BACKOFF_CAP_S", 0.02)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Service]:
    """A service that stays."""
    made = Service("sleeper", SLEEPER, log=tmp_path / "log")
    made.launch()
    yield made
    made.stop(grace_s=20)


def checked_until_restarted(service: Service, before: int | None) -> bool:
    """Look after the service once; whether it is another process by now."""
    service.check()
    return service.child is not None and service.child.poll() is None and service.pid != before


def test_it_is_started_again(sleeper: Service) -> None:
    """After a SIGKILL from outside."""
    before = sleeper.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: checked_until_restarted(sleeper, before), description="it is started again")


def test_one_that_is_killed_is_not_given_up(sleeper: Service) -> None:
    """Several poison prompts in a row take more workers than a wrong setting does."""
    for _ in range(2 * service_module._QUICK_EXITS):
        before = sleeper.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda old=before: checked_until_restarted(sleeper, old), description="again")


def test_it_is_given_up_after_quick_deaths(tmp_path: Path) -> None:
    """With its exit code and the end of its log."""
    service = Service("dying", DYING, log=tmp_path / "log")
    service.launch()

    said: list[str] = []

    def given_up() -> bool:
        try:
            service.check()
        except StackError as error:
            said.append(str(error))
        return bool(said)

    wait_until(given_up, description="it is given up")
    assert "dying ended with code 3" in said[0]
    assert "the reason" in said[0]


def test_dead_while_starting_is_an_error_at_once(tmp_path: Path) -> None:
    """Nobody wants to wait for five tries to hear of a typing error."""
    service = Service("dying", DYING, log=tmp_path / "log")
    service.launch()
    assert service.child is not None
    assert service.child.wait(20)
    with pytest.raises(StackError, match="dying ended with code 3"):
        service.expect_alive()
