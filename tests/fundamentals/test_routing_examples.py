"""The examples of the two routing guides are true: files load, commands exist, prompts go there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from promptyard.cli.app import build_app
from promptyard.job import Blob, Content, Decision, Job, Part
from promptyard_worker import cli
from promptyard_worker.routing.config import BandConfig, RouteConfig, RouterConfig
from promptyard_worker.routing.curve import choose
from promptyard_worker.routing.execution import ModelConfig
from promptyard_worker.routing.file import inspect_router, load_router
from promptyard_worker.routing.learned.model import FittedRouter
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.stages import (
    EncoderConfig,
    JudgeConfig,
    LearnedConfig,
    RuleConfig,
    SemanticConfig,
    When,
    packaged_fitted_file,
)

ROOT: Final = Path(__file__).resolve().parents[2]
GUIDE: Final = (ROOT / "docs" / "routing.md").read_text()
STEPS: Final = (ROOT / "docs" / "good-router.md").read_text()
README: Final = (ROOT / "README.md").read_text()
#: The beginning of a picture: routing does not open it.
PNG: Final = "iVBORw0KGgo="


def yaml_blocks() -> list[str]:
    """Every YAML block of both."""
    return re.findall(r"^```yaml\n(.*?)^```$", GUIDE + STEPS, re.DOTALL | re.MULTILINE)


BLOCKS: Final = yaml_blocks()
OLD_FORMAT: Final = [block for block in BLOCKS if "encoder_type" in block]
OURS: Final = [block for block in BLOCKS if block not in OLD_FORMAT]


def written(folder: Path, block: str) -> Path:
    """A router file of this block; what it does not hold is as in the packaged file."""
    path = folder / "router.yaml"
    if block in OLD_FORMAT:
        path.write_text(block)
        return path
    policy = yaml.safe_load((ROOT / "router.yaml").read_text())
    for key, value in yaml.safe_load(block).items():
        if key == "routes":
            policy[key] = merged(policy[key], value)
        else:
            policy[key] = policy.get(key, {}) | value if isinstance(value, dict) else value
    path.write_text(yaml.safe_dump(policy, allow_unicode=True))
    return path


def merged(packaged: list[dict[str, Any]], given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The packaged routes with what is given of them, and the routes that are new."""
    known = {route["name"]: route for route in packaged}
    for route in given:
        old = known.get(route["name"], {})
        utterances = [*old.get("utterances", []), *route.get("utterances", [])]
        known[route["name"]] = old | route | ({"utterances": utterances} if utterances else {})
    return list(known.values())


def router_of(folder: Path, *words: str) -> PromptRouter:
    """The router of the first block that holds these words."""
    block = next(block for block in BLOCKS if all(word in block for word in words))
    return PromptRouter(load_router(written(folder, block)))


def decided(router: PromptRouter, *jobs: Job | str) -> list[Decision]:
    """Where some prompts go."""
    found = router.route([Job(contents=job) if isinstance(job, str) else job for job in jobs])
    decisions = [one for one in found if isinstance(one, Decision)]
    assert len(decisions) == len(jobs)
    return decisions


def rows_below(heading: str) -> list[list[str]]:
    """The cells of the first table below a line that begins so, its head aside."""
    _, _, below = GUIDE.partition(f"\n{heading}")
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, heading
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("block", OURS)
def test_every_file_or_part_of_one_loads(block: str, tmp_path: Path) -> None:
    """Without a problem or a warning; and decides, where it asks nothing of other machines."""
    found = inspect_router(written(tmp_path, block))
    assert (found.problems, found.warnings) == ((), ())
    assert found.config is not None
    if found.config.encoder.type == "static" and found.config.judge is None:
        decided(PromptRouter(found.config), "Who painted this?")


def test_the_guide_has_a_file_of_0x() -> None:
    """One; all others are ours."""
    assert (len(OLD_FORMAT), len(OURS) > 8) == (1, True)


def test_a_file_of_0x_loads_as_it_is(tmp_path: Path) -> None:
    """What the guide says is decided for it: tiers, fallback, default."""
    found = inspect_router(written(tmp_path, *OLD_FORMAT))
    assert found.problems == ()
    assert found.translation is not None
    assert found.config is not None
    tiers = {address: str(route.tier) for address, route in found.config.leaves()}
    assert tiers == {"gemini-2.5-flash-lite": "lite", "hard": "pro"}
    chain = found.config.fallback_chain("gemini-2.5-flash-lite", route="gemini-2.5-flash-lite")
    assert chain == ("gemini-2.5-flash-lite", "gemini-2.5-pro")
    assert found.config.default == "lite"


def command_lines() -> list[str]:
    """What begins with ``promptyard`` in code, in blocks and in lines, of the guides and README."""
    text = GUIDE + STEPS + README
    blocks = re.findall(r"^    (promptyard .*)$", text, re.MULTILINE)
    spans = re.findall(r"`(promptyard [^`]*)`", text)
    return list(dict.fromkeys(blocks + spans))


def app() -> typer.Typer:
    """With the worker's commands, installed or only on the path."""
    found = build_app()
    if not any(group.name == "router" for group in found.registered_groups):
        cli.register(found)
    return found


@pytest.mark.parametrize("line", command_lines())
def test_every_command_exists(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its options."""
    monkeypatch.setenv("COLUMNS", "200")
    _, *words = shlex.split(line, comments=True)
    depth = 2 if words[0] == "router" else 1
    said = CliRunner().invoke(app(), [*words[:depth], "--help"])
    assert said.exit_code == 0, said.output
    for option in (word for word in words[depth:] if word.startswith("-")):
        assert re.search(rf"(?<![\w-]){option}\b", said.output), option


@pytest.mark.parametrize(
    "model",
    [
        RouterConfig,
        RouteConfig,
        BandConfig,
        ModelConfig,
        EncoderConfig,
        RuleConfig,
        When,
        SemanticConfig,
        LearnedConfig,
        JudgeConfig,
        Decision,
    ],
)
def test_every_key_is_in_the_guide(model: type[BaseModel]) -> None:
    """Of the router file, and of the record of a decision."""
    prose = re.sub(r"^```.*?^```$", "", GUIDE, flags=re.DOTALL | re.MULTILINE)
    code = " ".join([*BLOCKS, *re.findall(r"`([^`]+)`", prose)])
    assert {key for key in model.model_fields if not re.search(rf"\b{key}\b", code)} == set()


def test_the_judge_has_the_defaults_of_the_table() -> None:
    """Every key, every figure."""
    said: dict[str, str] = {}
    for keys, defaults, _ in rows_below("## Judge"):
        said |= zip(keys.replace("`", "").split(", "), defaults.split(", "), strict=True)
    fields = {name: field.default for name, field in JudgeConfig.model_fields.items()}
    assert said == {
        name: {"instructions": "ours", "max_cost_usd_per_day": "none"}[name]
        if default is None
        else str(default)
        for name, default in fields.items()
    }


def test_an_example_corrects_prompts_that_are_nearly_the_same(tmp_path: Path) -> None:
    """The similarities of the table; and who follows."""
    router = router_of(tmp_path, "name: lite", "Rate this supplier")
    rows = rows_below("### Correct a wrong decision")
    assert len(rows) == 4
    for (prompt, similarity, follows), found in zip(
        rows, decided(router, *(row[0] for row in rows)), strict=True
    ):
        assert f"{found.nearest[0].similarity:.2f}" == similarity, prompt
        assert found.nearest[0].utterance.startswith("Rate this supplier from 1 to 5"), prompt
        assert (found.stage == "semantic") is (follows == "yes"), prompt


def test_a_rule_takes_what_an_example_cannot(tmp_path: Path) -> None:
    """The same words around other material."""
    router = router_of(tmp_path, "supplier ratings")
    (found,) = decided(router, "Rate this supplier from 1 to 5: Kolb & Sons, Lübeck.")
    assert (found.stage, found.rule, found.tier) == ("rules", "supplier ratings", "lite")


def test_groups_choose_within(tmp_path: Path) -> None:
    """By meaning into the one, by a rule into the other; learned inside."""
    router = router_of(tmp_path, "name: contracts", "night")
    contract, night, other = decided(
        router,
        "Is the notice period in my employment contract valid?",
        Job(contents="Translate into French: good night.", metadata={"pool": "night"}),
        "Translate into French: good night.",
    )
    assert str(contract.route).startswith("contracts/")
    assert str(night.route).startswith("night/")
    assert night.rule == "night pool"
    assert other.route in ("pro", "flash", "lite")
    assert {one.stage for one in (contract, night)} == {"learned"}
    assert {"night/lite", "night/flash"} <= set(night.probabilities)


def test_harder_prompts_think_more(tmp_path: Path) -> None:
    """By the bands of their route."""
    route = load_router(written(tmp_path, next(b for b in BLOCKS if "bands" in b))).route("flash")
    assert route is not None
    assert [route.budget_at(hard) for hard in (None, 0.5, 0.6, 0.7)] == [0, 0, 1024, -1]


def test_a_picture_alone_follows_its_rule(tmp_path: Path) -> None:
    """And takes the default where there is none."""
    part = Part(inline_data=Blob(mime_type="image/png", data=PNG))
    picture = Job(contents=(Content(role="user", parts=(part,)),))
    (ruled,) = decided(router_of(tmp_path, "pictures alone"), picture)
    assert (ruled.rule, ruled.tier) == ("pictures alone", "lite")
    (left,) = decided(PromptRouter(load_router(ROOT / "router.yaml")), picture)
    assert (left.stage, left.tier) == ("default", "flash")


def test_the_knob_gives_what_the_table_says() -> None:
    """By the operating points of the packaged fitted file."""
    fitted = FittedRouter.load(packaged_fitted_file())
    for quality, *said in rows_below("### The quality knob"):
        point = choose(fitted.points, quality=float(quality))
        shares = (f"{100 * share:.0f} %" for share in point.shares)
        assert said == [f"{point.quality:.3f}", f"{point.cost_usd_per_1k:.2f}", *shares]
