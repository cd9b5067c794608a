"""``promptyard route``: what it says of a job, and of what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.job import Decision
from promptyard_worker import cli

PROOF = "Prove that 2 is prime."
POLICY: dict[str, Any] = {
    "version": 1,
    "default": "flash",
    "rules": [{"name": "[b]poems[/b]", "when": {"keywords": ["poem"]}, "tier": "lite"}],
    "semantic": {"threshold": 0.2},
    "routes": [
        {
            "name": "maths",
            "routes": [
                {
                    "name": "hard",
                    "tier": "pro",
                    "model": "big",
                    "thinking_budget": 1024,
                    "utterances": [PROOF, "Prove it.", "Show that n is odd.", "Derive the sum."],
                },
                {
                    "name": "easy",
                    "tier": "lite",
                    "model": "small",
                    "utterances": ["What is 2 + 2?", "Is 7 odd?"],
                },
            ],
        },
        {
            "name": "chat",
            "tier": "flash",
            "model": "mid",
            "thinking_budget": -1,
            "utterances": ["Hello.", "How are you?"],
        },
    ],
    "models": {
        name: {
            "tier": tier,
            "price": {"input": price, "output": price},
            "context_window": 9000,
            "timeout_s": 5,
            "typical_output_tokens": 94,
        }
        for name, tier, price in (("big", "pro", 100), ("mid", "flash", 10), ("small", "lite", 1))
    },
}
JUDGED = {**POLICY, "rules": [], "stages": ["judge"], "judge": {"model": "small"}}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a router file, and no credentials."""
    for name in ("PROMPTYARD_ROUTER", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PROMPTYARD_HOME", str(tmp_path / "home"))
    write("router.yaml", POLICY)
    return tmp_path


def write(name: str, content: dict[str, Any]) -> None:
    """A YAML or JSON file."""
    Path(name).write_text(yaml.safe_dump(content))


def say(*arguments: str, stdin: str | None = None) -> Result:
    """Run the command."""
    app: typer.Typer = build_app()
    if not any(group.name == "router" for group in app.registered_groups):
        cli.register(app)
    return CliRunner().invoke(app, ["route", *arguments], input=stdin)


def rows(said: Result) -> list[str]:
    """Lines of the output, their words one blank apart and without the lines of tables."""
    assert said.exit_code == 0, said.stderr
    return [" ".join(line.strip("│┃ ").split()) for line in said.stdout.splitlines()]


def decided(*arguments: str, stdin: str | None = None) -> Decision:
    """The decision that ``--json`` prints."""
    said = say(*arguments, "--json", stdin=stdin)
    assert said.exit_code == 0, said.stderr
    return Decision.model_validate_json(said.stdout)


def test_all_that_is_known_of_a_decision_is_shown() -> None:
    """Stage, path, lead, budget, costs of this, the dearest and the cheapest tier; the tables."""
    lines = rows(say(PROOF))
    decision = decided(PROOF)
    assert lines[:6] == [
        "pro (big), by semantic",
        "route maths/hard",
        f"margin {decision.margin:.4f}",
        "thinking at most 1,024 tokens",
        "tokens about 6 in the prompt",
        "cost about $0.010000 (dearest: pro $0.010000, cheapest: lite $0.000100)",
    ]
    assert lines[6] == f"policy {decision.policy_version}"
    scores = [line.partition(" │ ")[::2] for line in lines if line.count("│") == 1]
    assert [name for name, _ in scores] == ["maths", "chat", "maths/hard", "maths/easy"]
    assert all(float(score) == decision.scores[name] for name, score in scores)
    nearest = [line.split(" │ ") for line in lines if line.count("│") == 2]
    assert nearest[0] == ["1.0000", "maths/hard", PROOF]
    assert [float(near[0]) for near in nearest] == [near.similarity for near in decision.nearest]
    assert len(nearest) == 5


def test_a_rule_is_named_as_it_stands_in_the_file() -> None:
    """What looks like markup is text; nothing was scored."""
    lines = rows(say("Write a poem."))
    assert lines[:3] == [
        "lite (small), by rules",
        "rule [b]poems[/b]",
        "thinking the model's own default",
    ]
    assert not any("│" in line for line in lines)


def test_probabilities_stand_beside_scores() -> None:
    """Where the policy is calibrated."""
    calibration = {"method": "platt", "params": {"a": [5.0], "b": [0.0]}}
    write("other.yaml", {**POLICY, "semantic": {"calibration": calibration}})
    lines = rows(say(PROOF, "--router", "other.yaml"))
    assert "route ┃ score ┃ probability" in lines
    decision = decided(PROOF, "--router", "other.yaml")
    score, probability = decision.scores["maths"], decision.probabilities["maths"]
    assert f"maths │ {score:.4f} │ {probability:.4f}" in lines
    assert decided(PROOF).policy_version != decision.policy_version


def test_what_nobody_is_sure_of_says_so() -> None:
    """With the budget of the default."""
    lines = rows(say("\u16a0\u16a1"))
    assert lines[0] == "flash (mid), by default: no stage was sure"
    assert "thinking dynamic: as much as the model finds useful" in lines
    assert not any("nearest" in line for line in lines)


def test_a_whole_job_is_read_from_a_file(tmp_path: Path) -> None:
    """An input line, on one line or many: media, turns, instruction, metadata."""
    image = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    job = {"custom_id": 7, "contents": [{"parts": [image, {"text": PROOF}]}]}
    path = tmp_path / "job.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(job, indent=2).encode())
    lines = rows(say("--file", str(path)))
    assert lines[1] == "route maths/hard"
    assert "tokens about 264 in the prompt" in lines
    assert decided("--file", "-", stdin=json.dumps(job)) == decided("--file", str(path))


def test_a_job_that_names_its_tier_is_explicit() -> None:
    """No stage is asked; the cost is there all the same."""
    lines = rows(say("--file", "-", stdin='{"prompt": "Hello, my friend.", "tier": "pro"}'))
    assert lines[0] == "pro (big), by explicit: the job names it"
    assert "cost about $0.009900 (dearest: pro $0.009900, cheapest: lite $0.000099)" in lines


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ([], None, "Give a prompt, or a job by --file."),
        ([PROOF, "--file", "-"], "{}", "Give a prompt, or a job by --file."),
        ([" \n"], None, "The prompt is blank"),
        (["--file", "-"], "hello", "stdin is not one JSON object"),
        (["--file", "-"], '{"prompt": "a"}\n{"prompt": "b"}\n', "stdin is not one JSON object"),
        (["--file", "-"], "", "stdin is not one JSON object"),
        (["--file", "-"], "[]", "stdin: not an object"),
        (["--file", "-"], "{}", "stdin: no prompt"),
        (["--file", "-"], '{"prompt": "a", "foo": 1}', "stdin: unknown field 'foo'"),
        (["--file", "-"], '{"prompt": "a", "model": "gpt-9"}', "Unknown model 'gpt-9'"),
        (["--file", "gone.json"], None, "gone.json does not exist"),
        (["x", "--router", "gone.yaml"], None, "gone.yaml: there is no such file"),
    ],
)
def test_what_is_no_job_is_one_line(arguments: list[str], stdin: str | None, words: str) -> None:
    """Exit code 2, and what to do."""
    said = say(*arguments, stdin=stdin)
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.startswith(f"promptyard: {words}")
    assert said.stderr.count("\n") == 1


def test_a_judge_without_credentials_leaves_the_prompt_to_the_default(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As in a worker; the log says that it failed."""
    write("router.yaml", JUDGED)
    assert decided(PROOF).stage == "default"
    assert "The judge failed" in caplog.text


def test_an_encoder_without_credentials_is_an_error() -> None:
    """Nothing can be routed without it."""
    write("router.yaml", {**POLICY, "encoder": {"type": "gemini"}})
    said = say(PROOF)
    assert (said.exit_code, said.stdout) == (2, "")
    assert "GEMINI_API_KEY" in said.stderr
