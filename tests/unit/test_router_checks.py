"""The checks of a router file: one mistake each, with the place and the remedy."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from promptyard_worker.routing import load_router
from promptyard_worker.routing.checks import encoder
from tests.router_files import GOOD, complaint, written

#: What may stand before the routes, and what is said of it.
HEADS = [
    ("stages: [semantic, rules]", "stages[1]: 'rules' is not configured. List `rules:`, or"),
    ("stages: [learned]", "stages[0]: 'learned' is not configured. Add `learned: {file: ...}`"),
    ("stages: [judge]", "stages[0]: 'judge' is not configured. Add `judge: {model: ...}`"),
    ("stages: [semantic, semantic]", "stages[1]: 'semantic' is listed twice."),
    (
        "stages: [semantic]\njudge: {model: mid}",
        "judge: is configured, but `stages` does not list 'judge'",
    ),
    (
        "stages: [semantic]\nrules: [{name: a, when: {text: false}, tier: pro}]",
        "rules: is configured, but `stages` does not list 'rules'",
    ),
    ("judge: {model: mdi}", "judge.model: unknown model 'mdi'. Did you mean 'mid'?"),
    (
        "semantic: {calibration: {method: isotonic, params: {x: [0, 1, 0.5], y: [0, 0, 1]}}}",
        "semantic.calibration.params.x: the values fall somewhere;",
    ),
    ("learned: {file: gone}", "learned.file: gone: there is no such file. Correct the path"),
    ("encoder: {type: statik}", "encoder.type: unknown encoder 'statik'. Did you mean 'static'?"),
    ("encoder: {type: ClipEncoder}", "encoder.type: unknown encoder 'ClipEncoder'. Did you mean"),
    ("encoder: {type: no_such.thing:E}", "encoder.type: no module 'no_such.thing' is installed."),
    ("encoder: {type: json.thing:E}", "encoder.type: no module 'json.thing' is installed."),
    ("encoder: {type: BM25Encoder}", "encoder.type: BM25Encoder counts words;"),
    (
        "encoder: {type: 'semantic_router.encoders:OpenEncoder'}",
        "encoder.type: unknown encoder 'OpenEncoder'. Did you mean 'OpenAIEncoder'?",
    ),
    ("encoder: {path: nowhere}", "encoder.path: nowhere is no folder of a model2vec table."),
]

#: A rule, and what is said of it.
RULES = [
    ("when: {regex: '('}, tier: pro", "when.regex: RE2 refuses the pattern: missing )"),
    ("when: {regex: '(?<=a)b'}, tier: pro", "when.regex: RE2 refuses the pattern: "),
    ("when: {text: false}, route: hrad", "route: unknown route 'hrad'. Did you mean 'hard'?"),
    ("when: {text: false}, model: bgi", "model: unknown model 'bgi'. Did you mean 'big'?"),
    ("when: {text: false}, tier: lite", "tier: no route and no model has the tier 'lite'."),
    ("when: {keywords: []}, tier: pro", "when: its conditions are empty, so it would take every"),
    ("when: {tokens: {min: 0}}, tier: pro", "when: its conditions are empty, so it would take"),
]

#: A route of its own, and what is said of it.
ROUTES = [
    ("tier: pro, model: huge, utterances: [a]", "model: unknown model 'huge'. Valid: big, mid."),
    ("tier: pro, model: big", "utterances: the route 'own' has no utterances"),
    ("tier: pro, model: big, utterances: [hello.]", "utterances[0]: the route 'chat' has this"),
    (
        "tier: pro, model: big, utterances: [a], fallback: [mid, big]",
        "fallback[1]: the chain comes back to 'big', the route's own model.",
    ),
    (
        "tier: pro, model: big, utterances: [a], fallback: [mid, mid]",
        "fallback[1]: 'mid' is in the chain twice.",
    ),
    (
        "tier: pro, model: big, utterances: [a], bands: [{difficulty: 1, thinking_budget: 9}]",
        "bands: only the learned stage knows how hard a prompt is, and there is none.",
    ),
    (
        "utterances: [a], routes: [{name: x, tier: pro, model: big}, "
        "{name: y, tier: flash, model: mid}]",
        "routes: no stage can choose among x, y: none of them has utterances.",
    ),
    (
        "routes: [{name: x, tier: pro, model: big, utterances: [a]}, "
        "{name: x, tier: flash, model: mid, utterances: [b]}]",
        "routes[1].name: 'x' is the name of routes[2].routes[0] too.",
    ),
    (
        "routes: [{name: x, tier: pro, model: big, utterances: [hello.]}]",
        "routes[0].utterances[0]: the route 'chat' has this utterance too.",
    ),
]


#: The good file without its utterances.
MUTE = GOOD.replace("    utterances: [Hello.]\n", "").replace(
    "    utterances:\n      - Prove it.\n      - Solve it.\n", ""
)


def with_head(head: str) -> str:
    """The good file with more keys at its top."""
    return GOOD.replace("default: flash", f"default: flash\n{head}")


def with_route(route: str) -> str:
    """The good file with a third route."""
    return GOOD.replace("models:", f"  - {{name: own, {route}}}\nmodels:")


@pytest.mark.parametrize(("head", "expected"), HEADS)
def test_stages_and_encoder(tmp_path: Path, head: str, expected: str) -> None:
    """Listed and configured alike; known, installed, fitted."""
    said = complaint(tmp_path, with_head(head))
    line = 2 + len(head.splitlines())
    assert f"router.yaml:{line}: {expected}" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_rules(tmp_path: Path, rule: str, expected: str) -> None:
    """They lead somewhere, and ask something that RE2 can search for."""
    said = complaint(tmp_path, with_head(f"rules:\n  - {{name: own, {rule}}}"))
    assert f"router.yaml:4: rules[0].{expected}" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("route", "expected"), ROUTES)
def test_routes(tmp_path: Path, route: str, expected: str) -> None:
    """On every level of the tree."""
    said = complaint(tmp_path, with_route(route))
    assert f"router.yaml:15: routes[2].{expected}" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("first", "second", "never"),
    [
        ("{keywords: [Refund, money]}", "{keywords: [money, refund]}", True),
        ("{has: [image]}", "{has: [image], text: false}", True),
        ("{has: [image], text: false}", "{has: [image]}", False),
        ("{keywords: [refund]}", "{keywords: [refund, money]}", False),
        ("{metadata: {team: 1}}", "{metadata: {team: 2}}", False),
    ],
)
def test_a_rule_must_be_able_to_fire(tmp_path: Path, first: str, second: str, never: bool) -> None:
    """An earlier one that asks the same or less takes all of its prompts."""
    text = with_head(
        f"rules:\n  - {{name: a, when: {first}, tier: pro}}\n"
        f"  - {{name: {'b' if never else 'a'}, when: {second}, tier: flash}}"
    )
    expected = (
        "when: never fires: rules[0] takes all of its prompts."
        if never
        else "name: 'a' is the name of rules[0] too."
    )
    assert f"router.yaml:5: rules[1].{expected}" in complaint(tmp_path, text)


def test_bands_rise(tmp_path: Path) -> None:
    """From easy to hard, each once."""
    (tmp_path / "fit").touch()
    bands = ", ".join(f"{{difficulty: {at}, thinking_budget: 9}}" for at in (0.3, 0.5, 0.5, 0.2))
    text = with_route(f"tier: pro, model: big, bands: [{bands}]").replace(
        "default: flash", "default: flash\nlearned: {file: fit}"
    )
    said = complaint(tmp_path, text).splitlines()
    assert [line.split(" ")[1] for line in said] == [
        "routes[2].bands[2].difficulty:",
        "routes[2].bands[3].difficulty:",
    ]


def test_routes_need_no_utterances_where_something_else_chooses(tmp_path: Path) -> None:
    """The learned stage goes by tier and model; rules alone name their routes."""
    (tmp_path / "fit").touch()
    silent = with_head("learned: {file: fit}").replace("    utterances: [Hello.]\n", "")
    assert load_router(written(tmp_path, silent)).stage_order == ("semantic", "learned")
    rules = MUTE.replace("routes:", "rules: [{name: a, when: {text: true}, tier: pro}]\nroutes:")
    assert load_router(written(tmp_path, rules)).stage_order == ("rules",)


def test_somebody_must_choose(tmp_path: Path) -> None:
    """Without a stage, every prompt would go to the default."""
    expected = "router.yaml:3: routes: no stage can choose among hard, chat: none of them has"
    assert expected in complaint(tmp_path, MUTE)
    listed = MUTE.replace("routes:", "stages: [semantic]\nroutes:")
    assert "router.yaml:3: stages[0]: 'semantic' is not configured." in complaint(tmp_path, listed)


def test_a_group_may_repeat_an_utterance_of_its_sub_route(tmp_path: Path) -> None:
    """They do not compete: one is asked after the other."""
    sub = "routes: [{name: x, tier: pro, model: big, utterances: [a]}]"
    config = load_router(written(tmp_path, with_route(f"utterances: [a], {sub}")))
    assert config.route("own/x") is not None


@pytest.mark.parametrize(
    ("name", "pip"),
    [
        ("static", "'promptyard[worker]'"),
        ("gemini", "'promptyard[worker]'"),
        ("fastembed", "fastembed"),
        ("CLIPEncoder", "'semantic-router[vision]'"),
        ("semantic_router.encoders.ollama:OllamaEncoder", "'semantic-router[ollama]'"),
    ],
)
def test_an_encoder_that_is_not_installed_comes_with_the_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pip: str
) -> None:
    """Found without importing anything."""
    monkeypatch.setattr(encoder, "find_spec", lambda _name: None)
    said = complaint(tmp_path, with_head(f"encoder: {{type: '{name}'}}"))
    assert f"encoder.type: the encoder {name.rpartition(':')[2]} is not installed (" in said
    assert f"missing). Run `pip install {pip}`." in said


def test_modules_are_found_without_importing_their_parents(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Importing semantic_router, for one, takes seconds."""
    package = tmp_path / "costly"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert encoder.module_spec("costly.inner") is not None
    assert encoder.module_spec("costly.outer") is None
    assert encoder.module_spec("costly.inner.more") is None


def test_a_module_that_no_import_made_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no spec, which ``find_spec`` takes amiss."""
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))
    assert encoder.module_spec("made_by_hand") is None
