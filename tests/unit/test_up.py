"""What ``promptyard up`` says when it is up."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from promptyard.settings import Settings
from promptyard_worker.stack import LocalStack
from promptyard_worker.up import announce


def test_a_password_of_yours_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who set REDIS_URL has it; output of services ends in logs."""
    url = SecretStr("redis://:marked@127.0.0.1:6379/0")
    settings = Settings(home=tmp_path, redis_url=url)
    announce(LocalStack(settings), settings)
    said = capsys.readouterr()
    assert said.out == ""
    assert "marked" not in said.err
    assert "up: " in said.err
