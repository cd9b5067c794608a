"""What a router file may hold that is probably not meant: a warning, never an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptyard_worker.routing.file import find_router_file, inspect_router
from tests.router_files import GOOD, written

#: Nothing odd: enough utterances, real windows.
PLAIN = (
    GOOD.replace("context_window: 1000", "context_window: 100000")
    .replace("      - Solve it.\n", "".join(f"      - Solve no. {i}.\n" for i in range(5)))
    .replace("[Hello.]", "[Hello., Good day., Good evening., Bye., See you.]")
    .replace("input: 1, output: 2, ", "input: 5, output: 1, ")
)
ROUTES = "routes:\n  - name: hard"


def warnings_of(folder: Path, text: str) -> list[str]:
    """What is odd in a file that can be used."""
    inspection = inspect_router(written(folder, text))
    assert inspection.config is not None, inspection.problems
    return [str(finding) for finding in inspection.warnings]


def test_a_plain_file_has_none(tmp_path: Path) -> None:
    """Nor has the one that is shipped."""
    assert warnings_of(tmp_path, PLAIN) == []


def test_the_shipped_file_has_none() -> None:
    """New users would be told of something they did not write."""
    shipped = inspect_router(find_router_file(None))
    assert [str(finding) for finding in shipped.warnings] == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("context_window: 100000", "context_window: 1048", "context_window: 1048 tokens are very"),
        ("output: 1,", "output: 0,", "models.big.price.output: is 0, so every estimate takes"),
        ("      input: 1\n", "      input: 0.0000003\n", "models.mid.price.input: 3e-07 is very"),
        ("input: 5", "input: 0.1", "models.big.price: the model of pro costs less than mid,"),
        (", Good day., Good evening.", "", "routes[1].utterances: the route 'chat' has 3 utter"),
        ("Good day.", "hello.", "routes[1].utterances[1]: the route has this utterance already."),
        (
            "tier: pro\n    model",
            "tier: flash\n    model",
            "prompts go to the flash queue, but big",
        ),
        (ROUTES, f"semantic: {{alpha: 0.5}}\n{ROUTES}", "semantic.alpha: weighs meaning against"),
        (
            ROUTES,
            f"encoder: {{type: gemini, task_type: classify}}\n{ROUTES}",
            "encoder.task_type: google-genai documents no task type 'classify'. Did you mean "
            "'CLASSIFICATION'?",
        ),
        (
            ROUTES,
            f"judge: {{model: mid}}\n{ROUTES}",
            "semantic: has neither threshold nor margin, so it is sure of every prompt; judge gets",
        ),
        (
            ROUTES,
            f"learned: {{file: fit}}\nstages: [learned, semantic]\n{ROUTES}",
            "learned.threshold: has a threshold of 0, so it is sure of every prompt; semantic",
        ),
    ],
)
def test_oddities(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """One each, with its place."""
    (tmp_path / "fit").touch()
    assert old in PLAIN
    (said,) = warnings_of(tmp_path, PLAIN.replace(old, new, 1))
    assert expected in said


def test_utterances_that_choose_nothing(tmp_path: Path) -> None:
    """The stage that compares with them is not listed."""
    (tmp_path / "fit").touch()
    text = PLAIN.replace(ROUTES, f"learned: {{file: fit}}\nstages: [learned]\n{ROUTES}")
    (said,) = warnings_of(tmp_path, text)
    assert "4: stages: `semantic` is not listed, so the utterances" in said


def test_a_route_that_nothing_chooses(tmp_path: Path) -> None:
    """No rule leads to it, and it is not the first of its tier either."""
    text = PLAIN.replace(
        ROUTES, f"rules: [{{name: a, when: {{text: true}}, tier: pro}}]\nstages: [rules]\n{ROUTES}"
    ).replace("models:", "  - {name: spare, tier: pro, model: big, fallback: [mid]}\nmodels:")
    said = warnings_of(tmp_path, text)
    assert any("routes[2]: no stage can choose the route 'spare'." in one for one in said)
    assert not any("'hard'" in one or "'chat'" in one for one in said)
    led = text.replace("tier: pro}]", "route: spare}]", 1)
    assert not any("'spare'" in one for one in warnings_of(tmp_path, led))
