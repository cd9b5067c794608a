"""``promptyard eval`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard_worker.eval_command import evaluate
from tests.unit.test_evaluation import POLICY, PROMPTS


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with labelled prompts and the router file that is in use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PROMPTYARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PROMPTYARD_ROUTER", raising=False)
    (tmp_path / "router.yaml").write_text(POLICY)
    lines = [
        {"prompt": text, "tier": tier, "source": "[b]exam[/b]", "level": number % 2}
        for number, (text, tier) in enumerate(PROMPTS.items())
    ]
    (tmp_path / "tiers.jsonl").write_text("\n".join(map(json.dumps, lines)))
    scores = [
        {"prompt": text, "scores": {"lite": 0.1, "flash": 0.5, "pro": 0.9}} for text in PROMPTS
    ]
    (tmp_path / "scores.jsonl").write_text("\n".join(map(json.dumps, scores)))
    return tmp_path


def say(*arguments: str) -> Result:
    """Run the command."""
    app = build_app()
    app.command("eval")(evaluate)
    return CliRunner().invoke(app, ["eval", *arguments])


def rows(output: str) -> list[str]:
    """Lines of output, their words one blank apart."""
    return [" ".join(line.split()) for line in output.splitlines()]


def test_tables_of_a_policy() -> None:
    """The policy, what needs no router, the confusion, stages and sources."""
    said = say("tiers.jsonl")
    assert said.exit_code == 0, said.output
    words = rows(said.output)
    assert words[0].startswith("6 prompts labelled by tier, routed by router.yaml (policy ")
    assert "this policy 0.500 0.522 33.3 % 33.3 % 16.7 % 37" in words
    assert "all pro 0.500 0.222 0.0 % 0.0 % 50.0 % 100" in words
    for name in ("all flash", "all lite", "random mix", "nearest utterance"):
        assert any(line.startswith(f"{name} 0.") for line in words), name
    assert "pro 1 1 1 50.0 %" in words
    assert "decided share 33.3 % 33.3 % 33.3 %" in words
    assert "pro to lite 16.7 %, by one tier 16.7 %; over-routed 16.7 %" in said.output
    assert "cost: 37.0 % of all pro" in said.output
    assert "rules 4 0.500 25.0 % 50.0 % 25.0 %" in words
    assert "[b]exam[/b] 6 0.500 33.3 % 33.3 % 16.7 %" in words


def test_the_policy_alone_by_a_key_of_the_lines() -> None:
    """No baselines; levels are 0 and 1."""
    said = say("tiers.jsonl", "--no-baselines", "--by", "level")
    assert "all pro" not in said.output
    assert "cost:" not in said.output
    assert "1 3 0.333 33.3 % 100.0 % 33.3 %" in rows(said.output)


def test_scores_have_quality_instead() -> None:
    """And the reason why there is no APGR."""
    said = say("scores.jsonl")
    assert said.exit_code == 0, said.output
    words = rows(said.output)
    assert "this policy 0.500 55.6 % 37" in words
    assert "all pro 0.900 100.0 % 100" in words
    assert "flash 33.3 %" in words
    assert "no APGR: no learned stage" in said.output


def test_json_has_all_of_it() -> None:
    """On one line of stdout."""
    said = say("tiers.jsonl", "--json")
    (line,) = said.stdout.splitlines()
    data = json.loads(line)
    assert data["policy"]["tiers"]["accuracy"] == 0.5
    assert data["confusion"]["pro"]["lite"] == 1
    assert [one["name"] for one in data["baselines"]][-1] == "nearest utterance"
    assert data["problems"] == []


def test_bad_lines_are_told_on_stderr(folder: Path) -> None:
    """The first ten, and how many there are."""
    path = folder / "tiers.jsonl"
    path.write_text(path.read_text() + "\noops" * 12)
    said = say("tiers.jsonl")
    assert said.exit_code == 0
    assert said.stderr.splitlines()[0].startswith("tiers.jsonl:7: not JSON")
    assert len(said.stderr.splitlines()) == 11
    assert said.stderr.splitlines()[-1] == "12 lines left out"
    assert len(json.loads(say("tiers.jsonl", "--json").stdout)["problems"]) == 12


def test_another_router_file(folder: Path) -> None:
    """Named by the option, else the one in use."""
    (folder / "mine.yaml").write_text(POLICY.replace("default: flash", "default: lite"))
    said = say("tiers.jsonl", "--router", "mine.yaml")
    assert "routed by mine.yaml" in said.output
    assert "default 2 0.000 100.0 % 100.0 % 0.0 %" in rows(said.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl",), "none.jsonl does not exist"),
        (("tiers.jsonl", "--by", "lvel"), "No line of tiers.jsonl has the key 'lvel'"),
        (("tiers.jsonl", "--router", "none.yaml"), "none.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    """With the exit code of wrong input."""
    said = say(*arguments)
    assert said.exit_code == 2
    assert said.stderr.startswith(f"promptyard: {message}")
    assert len(said.stderr.splitlines()) == 1
