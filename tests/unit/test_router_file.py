"""find_router_file and load_router: which file, and what is said when it is wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

import promptyard_worker
from promptyard.errors import RouterFileError
from promptyard.names import Tier
from promptyard_worker.routing import find_router_file, load_router
from tests.router_files import GOOD, complaint, written

REPO = Path(promptyard_worker.__file__).parents[2]


def test_a_good_file_loads(tmp_path: Path) -> None:
    """With the hash of its bytes as the version."""
    config = load_router(written(tmp_path, GOOD))
    assert config.default is Tier.FLASH
    assert config.routes[0].utterances == ("Prove it.", "Solve it.")
    assert config.policy_version == hashlib.sha256(GOOD.encode()).hexdigest()[:12]


def test_the_shipped_file_loads() -> None:
    """Three tiers, at least 25 utterances each, worked prices, a model for the default."""
    config = load_router(REPO / "router.yaml")
    assert {route.tier for route in config.routes} == set(Tier)
    assert all(len(route.utterances) >= 25 for route in config.routes)
    assert config.default_model(config.default) == "gemini-2.5-flash"
    assert config.fallback_chain("gemini-2.5-pro") == ("gemini-2.5-pro", "gemini-2.5-flash")
    long_context = config.model("gemini-2.5-pro").price.long_context
    assert long_context is not None
    assert long_context.above_tokens == 200_000


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "    fallback: [mid]",
            "    fallbak: [mid]",
            "router.yaml:7: routes[0].fallbak: unknown key. Did you mean 'fallback'? Valid: name,",
        ),
        (
            "{input: 1, output",
            "{inptu: 1, output",
            "router.yaml:18: models.big.price.inptu: unknown key. Did you mean 'input'?",
        ),
        (
            "model: big",
            "model: bgi",
            "router.yaml:6: routes[0].model: unknown model 'bgi'. Did you mean 'big'? Valid: big,",
        ),
        (
            "[mid]",
            "[mid, tiny]",
            "router.yaml:7: routes[0].fallback[1]: unknown model 'tiny'. Valid: big, mid.",
        ),
        (
            "tier: pro\n    model",
            "tier: por\n    model",
            "router.yaml:5: routes[0].tier: unknown tier 'por'. Did you mean 'pro'? Valid: pro,",
        ),
        (
            "[Hello.]",
            "[]",
            "router.yaml:14: routes[1].utterances: the route 'chat' has no utterances",
        ),
        (
            "    utterances: [Hello.]\n",
            "",
            "router.yaml:11: routes[1].utterances: the route 'chat' has no utterances",
        ),
        (
            "[Hello.]",
            "[Hello., 'prove  IT.']",
            "router.yaml:14: routes[1].utterances[1]: the route 'hard' has this utterance too.",
        ),
        (
            "    price: {input: 1, output: 2, cached_input: 0.1}\n",
            "",
            "router.yaml:16: models.big.price: is missing. Give it in USD per million tokens:",
        ),
        (
            "      output: 2\n",
            "",
            "router.yaml:23: models.mid.price.output: is missing. Give it in USD per million",
        ),
        ("default: flash\n", "", "router.yaml:1: default: is missing. Name the tier of prompts"),
        (
            "default: flash",
            "default: lite",
            "router.yaml:2: default: no route and no model has the tier 'lite'. ",
        ),
        (
            "model: big",
            "model: big\n    threshold: 1.5",
            "router.yaml:7: routes[0].threshold: 1.5 is out of range. It must be at least -1",
        ),
        (
            "[Hello.]",
            "Hello.",
            "router.yaml:14: routes[1].utterances: 'Hello.' is not a list. Write `[one, two]`",
        ),
        (
            "default: flash",
            "default: flash\nrules: [{name: a, when: {language: [german]}, tier: pro}]",
            "router.yaml:3: rules[0].when.language[0]: 'german' is no language code. Write two",
        ),
        (
            "default: flash",
            "default: flash\nstages: [rulse, semantic]",
            "router.yaml:3: stages[0]: cannot be 'rulse'. Did you mean 'rules'? Valid: rules,",
        ),
        (
            "default: flash",
            "default: flash\nencoder: {type: gemini, path: table}",
            "router.yaml:3: encoder.path: the encoder 'gemini' does not read 'path': remove it;",
        ),
        ("- Prove it.", "- 42", "router.yaml:9: routes[0].utterances[0]: 42 is not a text. Put it"),
        ("version: 1", "version: 7", "router.yaml:1: version: cannot be 7. Write 1."),
        ("timeout_s: 5\n  mid", "timeout_s: soon\n  mid", "router.yaml:20: models.big.timeout_s: "),
        (
            "default: flash",
            "default: flash\nencoder: {type: static, path: nowhere}",
            "router.yaml:3: encoder.path: nowhere is no folder of a model2vec table.",
        ),
        (
            "default: flash",
            "default: flash\ndefault: pro",
            "router.yaml:3: the key 'default' is here twice (line 2 has it too). Keep one.",
        ),
        ("- name: chat", "- name: [chat", "is not YAML: "),
        ("- Prove it.", "- Prove: it: now", "router.yaml:9: is not YAML: "),
    ],
)
def test_every_mistake_names_line_key_and_remedy(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    """One mistake in a good file, and the beginning of what is said."""
    assert old in GOOD
    said = complaint(tmp_path, GOOD.replace(old, new, 1))
    assert expected in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 2026-02-31\n", "router.yaml:1: is not YAML: '2026-02-31' looks like a date"),
        ('a: 1\nb: "\\U99999999"\n', "router.yaml:2: a \\U escape is no character."),
        ("a: 1\n# \x07\n", "router.yaml:2: is not YAML: special characters are not allowed."),
        ("[" * 3000, "router.yaml:1: is nested too deeply"),
        ("a: &x [*x]\n", "router.yaml:1: a: unknown key."),
    ],
)
def test_odd_texts_are_told_like_other_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    """Whatever YAML's parser makes of them."""
    assert expected in complaint(tmp_path, text)


def test_several_mistakes_come_together_in_file_order(tmp_path: Path) -> None:
    """So that a user does not correct them one by one."""
    text = GOOD.replace("fallback", "fallbak").replace("    timeout_s: 5\n", "")
    lines = complaint(tmp_path, text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["7", "16", "20"]


def test_mistakes_of_every_kind_come_together(tmp_path: Path) -> None:
    """Of the text, of the schema, of the checks; a misspelt key keeps what it holds."""
    text = (
        GOOD.replace("default: flash", "default: flash\ndefault: flash")
        .replace("    utterances:\n", "    utterences:\n")
        .replace("[Hello.]", "[Hello., prove it.]")
        .replace("    timeout_s: 5\n  mid", "  mid")
        .replace("fallback: [mid]", "fallback: [mid, mid, huge]")
    )
    said = complaint(tmp_path, text).splitlines()
    assert [line.removeprefix("router.yaml:").partition(". ")[0] for line in said] == [
        "3: the key 'default' is here twice (line 2 has it too)",
        "8: routes[0].fallback[1]: 'mid' is in the chain twice",
        "8: routes[0].fallback[2]: unknown model 'huge'",
        "9: routes[0].utterences: unknown key",
        "15: routes[1].utterances[1]: the route 'hard' has this utterance too",
        "17: models.big.timeout_s: is missing",
    ]


def test_what_a_mistake_makes_unclear_is_not_guessed_at(tmp_path: Path) -> None:
    """One mistake, one line: not also what would follow from it."""
    assert len(complaint(tmp_path, GOOD.replace("models:", "modles:")).splitlines()) == 1
    assert len(complaint(tmp_path, GOOD.replace("tier: pro", "tier: x", 1)).splitlines()) == 1
    assert len(complaint(tmp_path, GOOD.replace("Prove it.", "[]")).splitlines()) == 1


def test_very_many_mistakes_are_counted(tmp_path: Path) -> None:
    """And the command that shows all is named."""
    text = GOOD.replace("[Hello.]", f"[{', '.join(map(str, range(12)))}]")
    said = complaint(tmp_path, text).splitlines()
    assert len(said) == 11
    assert said[-1] == "and 2 more problems: see them by `promptyard router check router.yaml`."


@pytest.mark.parametrize("text", ["", "- a\n", "just words", "# only a comment\n"])
def test_a_file_that_is_no_mapping_says_how_to_begin(tmp_path: Path, text: str) -> None:
    """Empty, a list, a text."""
    assert "Begin it with `version: 1`" in complaint(tmp_path, text)


def test_a_file_that_is_no_utf8_names_the_line(tmp_path: Path) -> None:
    """Latin-1 from an old editor."""
    path = tmp_path / "router.yaml"
    path.write_bytes(b"version: 1\n# caf\xe9\n")
    with pytest.raises(RouterFileError, match=r"router\.yaml:2: is not UTF-8"):
        load_router(path)


def test_an_unreadable_file_is_a_router_file_error(tmp_path: Path) -> None:
    """Not an OSError."""
    with pytest.raises(RouterFileError, match="cannot be read"):
        load_router(tmp_path)


def test_a_relative_encoder_path_is_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to where the worker was started."""
    table = Path(promptyard_worker.__file__).parent / "embedding"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "table").symlink_to(table)
    text = GOOD.replace("default: flash", "default: flash\nencoder: {path: table}")
    path = written(tmp_path / "conf", text)
    monkeypatch.chdir(tmp_path)
    assert load_router(path).encoder.path == tmp_path / "conf" / "table"


def test_a_json_file_is_read_as_json(tmp_path: Path) -> None:
    """With its surrogate pairs, tabs and lines."""
    path = tmp_path / "router.json"
    text = json.dumps(yaml.safe_load(GOOD.replace("Hello.", "Hello \U0001f600")), indent="\t")
    path.write_text(text)
    assert load_router(path).routes[1].utterances == ("Hello \U0001f600",)
    path.write_text(text.replace('"fallback"', '"fallbak"'))
    with pytest.raises(RouterFileError, match=r"router\.json:9: routes\[0\]\.fallbak: unknown"):
        load_router(path)
    path.write_text(text.replace('"tier": "pro",', '"tier": "pro"', 1))
    with pytest.raises(RouterFileError, match=r"router\.json:8: is not JSON: Expecting ','"):
        load_router(path)


def test_the_fitted_file_is_relative_to_the_router_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And absolute once loaded, wherever the worker goes; one that is not there is named."""
    text = GOOD.replace("default: flash", "default: flash\nlearned: {file: fit.bin}")
    path = written(tmp_path, text)
    assert "router.yaml:3: learned.file: fit.bin: there is no such file." in complaint(
        tmp_path, text
    )
    (tmp_path / "fit.bin").write_bytes(b"fitted")
    monkeypatch.chdir(tmp_path)
    learned = load_router(Path(path.name)).learned
    assert learned is not None
    assert learned.file == tmp_path / "fit.bin"


def test_the_explicit_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then ./router.yaml, then the packaged one; a wrong explicit one is an error."""
    monkeypatch.chdir(tmp_path)
    packaged = find_router_file(None)
    assert packaged.name == "router.yaml"
    assert packaged.is_absolute()
    own = written(tmp_path, GOOD)
    assert find_router_file(None).samefile(own)
    other = tmp_path / "other.yaml"
    with pytest.raises(RouterFileError, match="no such file"):
        find_router_file(other)
    other.write_text(GOOD)
    assert find_router_file(other) == other
