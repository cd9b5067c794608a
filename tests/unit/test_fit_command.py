"""``promptyard fit`` as it is typed, from labels to a policy that decides by them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.job import Decision, Job
from promptyard_worker.fit_command import fit
from promptyard_worker.routing.file import load_router
from promptyard_worker.routing.learned.model import FittedRouter
from promptyard_worker.routing.router import PromptRouter
from tests.unit.test_evaluation import POLICY
from tests.unit.test_fitting import outcomes, prompts

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with labelled prompts and the router file that is in use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PROMPTYARD_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PROMPTYARD_ROUTER", raising=False)
    (tmp_path / "router.yaml").write_text(POLICY)
    for name, seed in (("tiers.jsonl", 0), ("more.jsonl", 1)):
        pairs = prompts(60, seed=seed)
        put(tmp_path / name, [{"prompt": text, "tier": tier} for text, tier in pairs])
    return tmp_path


def put(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Write labelled lines."""
    path.write_text("\n".join(map(json.dumps, lines)))


def say(*arguments: str) -> Result:
    """Run the command."""
    app = build_app()
    app.command("fit")(fit)
    return CliRunner().invoke(app, ["fit", *arguments])


def rows(output: str) -> list[str]:
    """Lines of output, their words one blank apart."""
    return [" ".join(line.split()) for line in output.splitlines()]


def test_from_labels_to_decisions(folder: Path) -> None:
    """Fit, name the file in router.yaml as the command says, route."""
    said = say("tiers.jsonl", "more.jsonl", "-o", "mine.npz")
    assert said.exit_code == 0, said.output
    assert sorted(path.name for path in folder.glob("*.npz*")) == ["mine.npz"]
    lines = said.stdout[said.stdout.index("learned:\n") :]
    assert lines == "learned:\n  file: mine.npz\n  # quality: 0.95\n"
    (folder / "router.yaml").write_text(POLICY.replace("[rules]", "[rules, learned]") + lines)
    router = PromptRouter(load_router(folder / "router.yaml"))
    texts = ("Derive how fast the red kettle grows, and justify each step.", "Is it in this list?")
    decisions = router.route([Job(contents=text) for text in texts])
    assert [one.stage for one in decisions if isinstance(one, Decision)] == ["learned", "learned"]
    assert [one.tier for one in decisions if isinstance(one, Decision)] == ["pro", "lite"]


def test_tables_of_a_fit() -> None:
    """What was held out, beside the baselines; what the knob can choose; where the file is."""
    said = say("tiers.jsonl")
    words = rows(said.stdout)
    assert words[0].startswith("60 prompts labelled by tier")
    for name in ("this policy", "all pro", "all flash", "all lite", "random mix"):
        assert any(line.startswith(f"{name} ") for line in words), name
    assert any(line.startswith("learned 60 ") for line in words)
    assert any(line.startswith("calibration error: 0.") for line in words)
    points = words[words.index("quality $/1,000 to lite to flash to pro") + 2 :]
    assert points[0].endswith(" 100.0 % 0.0 % 0.0 %")
    assert any(line.startswith("1.000 ") for line in points)
    assert "that had not seen it (prompts held out)" in said.stdout


def test_whole_sources_are_told(folder: Path) -> None:
    """By the key that holds them."""
    lines = [
        {"prompt": text, "tier": tier, "exam": f"exam {number % 6}"}
        for number, (text, tier) in enumerate(prompts(60))
    ]
    put(folder / "exams.jsonl", lines)
    said = say("exams.jsonl", "--by", "exam")
    assert "that had not seen it (whole sources held out)" in said.stdout
    assert any(line.startswith("exam 3 10 ") for line in rows(said.stdout))


def test_scores_have_a_curve(folder: Path) -> None:
    """Two models of a file with three; bad lines are told on stderr."""
    given = outcomes(90)
    assert given.scores is not None
    lines = [
        {"prompt": job.text, "scores": dict(zip(given.arms, row, strict=True))}
        for job, row in zip(given.jobs, given.scores.tolist(), strict=True)
    ]
    put(folder / "scores.jsonl", [*lines, {"prompt": "No label."}])
    said = say("scores.jsonl")
    assert said.exit_code == 0, said.output
    assert "big against small (90 prompts): APGR 0." in said.stdout
    assert "no nearest utterance: it leads to a model without scores" in said.stdout
    assert "quality $/1,000 to small to big" in rows(said.stdout)
    assert said.stderr.splitlines()[0].startswith("scores.jsonl:91: no label")
    assert FittedRouter.load(Path("router.fit.npz")).arms == ("small", "big")


def test_json_is_the_evaluation() -> None:
    """On one line of stdout; the report is in the file too."""
    said = say("tiers.jsonl", "--json")
    (line,) = said.stdout.splitlines()
    data = json.loads(line)
    report = FittedRouter.load(Path("router.fit.npz")).report
    assert report.measures["accuracy"] == pytest.approx(
        data["policy"]["tiers"]["accuracy"], abs=1e-4
    )
    assert report.prompts == data["prompts"] == 60


def test_a_file_that_is_there_is_kept(folder: Path) -> None:
    """Unless --force is given."""
    path = folder / "router.fit.npz"
    path.write_text("precious")
    said = say("tiers.jsonl")
    assert (said.exit_code, path.read_text()) == (2, "precious")
    assert said.stderr == (
        "promptyard: router.fit.npz is there already: name another --output, or give --force.\n"
    )
    assert say("tiers.jsonl", "--force").exit_code == 0
    assert FittedRouter.load(path).report.prompts == 60


def test_a_file_elsewhere_is_named_whole(folder: Path) -> None:
    """Below the router file by its place there, else by its whole path."""
    (folder / "conf").mkdir()
    (folder / "conf" / "router.yaml").write_text(POLICY)
    router = ("--router", "conf/router.yaml")
    below = say("tiers.jsonl", *router, "-o", "conf/fit.npz").stdout
    beside = say("tiers.jsonl", *router, "-o", "fit.npz").stdout
    assert "learned:\n  file: fit.npz\n" in below
    assert f"learned:\n  file: {folder / 'fit.npz'}\n" in beside


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl",), "none.jsonl does not exist"),
        (("tiers.jsonl", "-o", "nowhere/fit.npz"), "nowhere is no folder: create it, or name"),
        (("few.jsonl",), "There are 3 different labelled prompts for 3 arms: give at least 30"),
        (("tiers.jsonl", "scored.jsonl"), "Some files are labelled by tier and some by scores"),
        (("tiers.jsonl", "--by", "exm"), "No line of tiers.jsonl has the key 'exm'"),
        (("tiers.jsonl", "--router", "none.yaml"), "none.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    """With the exit code of wrong input, and no file is written."""
    put(folder / "few.jsonl", [{"prompt": text, "tier": tier} for text, tier in prompts(3)])
    put(folder / "scored.jsonl", [{"prompt": "Hi.", "scores": {"big": 1, "small": 0}}])
    said = say(*arguments)
    assert said.exit_code == 2
    assert said.stderr.startswith(f"promptyard: {message}")
    assert len(said.stderr.splitlines()) == 1
    assert not list(folder.glob("*.npz*"))


@pytest.mark.parametrize("missing", ["sklearn", "scipy"])
def test_without_scikit_learn_the_pip_line_is_named(folder: Path, missing: str) -> None:
    """In a process that cannot import it; nothing else is asked of it before."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
from promptyard.cli.app import build_app
from promptyard_worker.fit_command import fit
app = build_app()
app.command("fit")(fit)
app(["fit", "tiers.jsonl", "-o", {str(folder / "fit.npz")!r}])
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"promptyard: Fitting needs {missing}, which is not installed: "
        "pip install 'promptyard[fit]'.\n"
    )


def test_a_worker_needs_no_scikit_learn(folder: Path) -> None:
    """What was fitted is evaluated without it, in a process that cannot import it."""
    assert say("tiers.jsonl").exit_code == 0
    policy = POLICY.replace("[rules]", "[rules, learned]") + "learned: {file: router.fit.npz}\n"
    (folder / "router.yaml").write_text(policy)
    program = f"""
import sys
sys.modules["sklearn"] = sys.modules["scipy"] = None
from pathlib import Path
from promptyard.job import Job
from promptyard_worker.routing.file import load_router
from promptyard_worker.routing.router import PromptRouter
router = PromptRouter(load_router(Path({str(folder / "router.yaml")!r})))
print(router.route([Job(contents="Is the kettle in this list: yes or no?")])[0].stage)
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "learned\n", "")
