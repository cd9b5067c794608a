"""The command line without a stack: help, usage, errors in one line with their exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptyard import __version__
from promptyard.cli.app import build_app
from promptyard.cli.words import amount, count, dollars, seconds, span

DEAD = "redis://127.0.0.1:1/0"
COMMANDS = ("run", "submit", "status", "follow", "results", "pause", "resume", "cancel", "doctor")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Redis, no key, a home of the test's own."""
    for name in ("REDIS_URL", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROMPTYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")


class Said:
    """What a command said."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        result = CliRunner().invoke(build_app(), list(arguments), env=env)
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr


def test_help_names_every_command() -> None:
    """With a line each."""
    said = Said("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """Its own help works and shows its options."""
    said = Said(command, "--help")
    assert said.code == 0
    assert "--redis-url" in said.out


def test_version() -> None:
    """The version alone, for scripts."""
    assert Said("--version").out == f"{__version__}\n"


def test_wrong_usage_is_exit_code_2() -> None:
    """An unknown command, an unknown option, a missing argument."""
    assert Said("nonsense").code == Said("run", "--nonsense").code == Said("cancel").code == 2


@pytest.mark.parametrize("arguments", [("status",), ("follow", "b"), ("results", "b")])
def test_without_redis_the_error_says_how_to_name_one(arguments: tuple[str, ...]) -> None:
    """One line, exit code 2, both remedies."""
    said = Said(*arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "REDIS_URL" in said.err
    assert "promptyard up" in said.err


def test_a_url_that_is_no_url_is_named() -> None:
    """Before anything is tried."""
    said = Said("status", "--redis-url", "localhost:6379")
    assert said.code == 2
    assert "redis://" in said.err


def test_an_input_that_is_not_there_is_named() -> None:
    """Before a stack is started for it."""
    said = Said("run", "no-such.jsonl", "--redis-url", DEAD)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("promptyard: no-such.jsonl does not exist")


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    """It would be gone before it was read."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a"}\n')
    said = Said("run", str(path), "-o", str(path), "--redis-url", DEAD)
    assert said.code == 2
    assert "is the input itself" in said.err
    assert path.read_text() == '{"prompt": "a"}\n'


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Before a job is paid for."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a"}\n')
    said = Said("run", str(path), "-o", str(tmp_path / "no" / "out.jsonl"), "--redis-url", DEAD)
    assert said.code == 2
    assert "cannot be written" in said.err


def test_doctor_finds_what_is_wrong_and_goes_on() -> None:
    """A dead Redis fails with its remedy; the other checks are there too; no secret is shown."""
    said = Said("doctor", "--json", env={"REDIS_URL": "redis://:secret@127.0.0.1:1/0"})
    assert said.code == 1
    findings = {finding["subject"]: finding for finding in json.loads(said.out)}
    assert findings["redis"]["verdict"] == "fail"
    assert "REDIS_URL" in findings["redis"]["remedy"]
    assert {"python", "promptyard", "celery", "key"} <= set(findings)
    assert findings["key"]["verdict"] == "warn"
    assert "secret" not in said.out


def test_doctor_without_redis_says_that_one_will_be_started() -> None:
    """That is no failure."""
    said = Said("doctor")
    assert said.code == 0
    assert "will be started" in said.out


def test_the_producers_commands_load_no_worker() -> None:
    """A web backend's machine has only the light half installed."""
    code = (
        "import sys; sys.modules['promptyard_worker'] = None\n"
        "import typer; from promptyard.cli import commands\n"
        "app = typer.Typer(); commands.register(app)\n"
        "import promptyard.cli.run_command, promptyard.cli.doctor.examination\n"
        "import promptyard.cli.status, promptyard.cli.submission\n"
        "heavy = {'google', 'semantic_router', 'numpy', 'fastapi'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


LIGHT = """
import sys
for name in ("uvicorn", "yaml", "numpy", "semantic_router", "google", "model2vec"):
    sys.modules[name] = None
from promptyard.cli import main
sys.argv[1:] = {arguments!r}
main()
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "submit"),
        (["up"], 6, "pip install 'promptyard[worker]'"),
        (["route", "hi"], 6, "pip install 'promptyard[worker]'"),
        (["run", __file__, "-o", os.devnull], 6, "set REDIS_URL to a running stack"),
        (["doctor"], 0, "not looked at"),
    ],
)
def test_an_installation_without_the_worker_extra(
    arguments: list[str], code: int, said: str
) -> None:
    """Both packages are in the wheel; what the worker's needs is not there."""
    if not entry_points(group="promptyard.stack"):
        pytest.skip("promptyard is not installed, only on the path")
    light = subprocess.run(
        [sys.executable, "-c", LIGHT.format(arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert light.returncode == code, light.stderr
    assert said in light.stdout + light.stderr


def test_words() -> None:
    """Money, seconds, spans and counts as people read them."""
    assert [dollars(0.0042), dollars(12.3), dollars(1234.5)] == ["$0.0042", "$12.30", "$1,234.50"]
    assert [seconds(None), seconds(0.416), seconds(12.34)] == ["-", "0.42 s", "12.3 s"]
    assert [span(42), span(200), span(7500)] == ["42 s", "3 min 20 s", "2 h 05 min"]
    assert [amount(950), amount(41_738), amount(3_210_000)] == ["950", "41.7k", "3.21M"]
    assert [count(1, "job"), count(2000, "job")] == ["1 job", "2,000 jobs"]
