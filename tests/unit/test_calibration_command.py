"""``promptyard router calibrate``: what it prints can be pasted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.names import Tier
from promptyard_worker import cli
from promptyard_worker.calibration_command import as_yaml
from promptyard_worker.routing import load_router
from promptyard_worker.routing.stages import Calibration
from tests.unit.test_calibration import FAR, MIXED, NEAR, policy


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a router file and labelled prompts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPTYARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PROMPTYARD_ROUTER", raising=False)
    write_policy(margin=0.1)
    write_labelled(*NEAR, *FAR, *MIXED)
    return tmp_path


def write_policy(**semantic: Any) -> None:
    """The router file that is in use."""
    content = policy(semantic=semantic).model_dump(mode="json", exclude_unset=True)
    Path("router.yaml").write_text(yaml.safe_dump(content))


def write_labelled(*pairs: tuple[str, Tier]) -> None:
    """Labelled prompts, and a line that is none."""
    lines = [json.dumps({"prompt": text, "tier": tier}) for text, tier in pairs]
    Path("tiers.jsonl").write_text("\n".join([*lines, '{"prompt": "no label"}']))


def say(*arguments: str) -> Result:
    """Run the command."""
    app = build_app()
    if not any(group.name == "router" for group in app.registered_groups):
        cli.register(app)
    return CliRunner().invoke(app, ["router", "calibrate", *arguments])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_the_lines_on_stdout_go_into_the_file(method: str) -> None:
    """And nothing else is on stdout; the file with them loads."""
    said = say("tiers.jsonl", "--method", method)
    assert said.exit_code == 0, said.stderr
    found = yaml.safe_load(said.stdout)
    assert list(found) == ["semantic"]
    write_policy(**found["semantic"])
    calibration = load_router(Path("router.yaml")).semantic.calibration
    assert calibration is not None
    assert calibration.method == method


def test_the_report_says_what_it_is_worth() -> None:
    """Lines that were left out, reminders, the error before and after, thresholds."""
    said = say("tiers.jsonl")
    lines = said.stderr.splitlines()
    assert lines[0].startswith("tiers.jsonl:41: no label;")
    assert lines[1] == "1 line left out"
    assert lines[2].startswith("thresholds and margin of the file are of scores")
    assert lines[3] == "40 choices, 50.0% right"
    assert lines[4].startswith("calibration error: 0.")
    assert "threshold" in lines[6]


def test_json_has_all_of_it() -> None:
    """On stdout, for scripts."""
    said = say("tiers.jsonl", "--json")
    found = json.loads(said.stdout)
    assert said.stderr == ""
    assert found["calibration"]["method"] == "platt"
    assert found["error_after"] < found["error_before"]
    assert found["choices"] == 40
    assert found["bars"][0]["sure"] == 1
    assert len(found["problems"]) == 1


def test_another_router_file_can_be_named(folder: Path) -> None:
    """The one in use is not looked at."""
    (folder / "router.yaml").rename(folder / "other.yaml")
    (folder / "router.yaml").write_text("version: 1\n")
    assert say("tiers.jsonl", "--router", "other.yaml").exit_code == 0
    assert say("tiers.jsonl").exit_code == 2


def test_too_few_prompts_are_one_line() -> None:
    """Exit code 2."""
    write_labelled(*NEAR)
    said = say("tiers.jsonl")
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.startswith("promptyard: The best route is wrong for 0 of 16 prompts")


def test_the_lines_are_short() -> None:
    """An isotonic map has many points."""
    x = tuple(round(step / 99, 6) for step in range(100))
    text = as_yaml(Calibration(method="isotonic", params={"x": x, "y": x}))
    assert max(map(len, text.splitlines())) <= 110
    assert yaml.safe_load(text)["semantic"]["calibration"]["params"]["x"] == list(x)
