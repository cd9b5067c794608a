"""find_router_file and load_router: which file, and what is said when it is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import promptyard_worker
from promptyard.errors import RouterFileError
from promptyard.names import Tier
from promptyard_worker.routing import find_router_file, load_router

REPO = Path(promptyard_worker.__file__).parents[2]

GOOD = """\
version: 1
default: flash
routes:
  - name: hard
    tier: pro
    model: big
    fallback: [mid]
    utterances:
      - Prove it.
      - Solve it.
  - name: chat
    tier: flash
    model: mid
    utterances: [Hello.]
models:
  big:
    tier: pro
    price: {input: 1, output: 2, cached_input: 0.1}
    context_window: 1000
    timeout_s: 5
  mid:
    tier: flash
    price:
      input: 1
      output: 2
    context_window: 1000
    timeout_s: 5
"""


def written(folder: Path, text: str) -> Path:
    """A router file with this text."""
    path = folder / "router.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    """What load_router says, without the folder."""
    with pytest.raises(RouterFileError) as caught:
        load_router(written(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


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
            "name: chat",
            "name: hard",
            "router.yaml:11: routes[1].name: 'hard' is the name of",
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


def test_several_mistakes_come_together_in_file_order(tmp_path: Path) -> None:
    """So that a user does not correct them one by one."""
    text = GOOD.replace("fallback", "fallbak").replace("    timeout_s: 5\n", "")
    lines = complaint(tmp_path, text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["7", "16", "20"]


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
