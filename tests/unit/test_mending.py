"""A mistake against the schema hides none of those that the checks find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.router_files import GOOD, complaint

HEAD = "default: flash\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (HEAD, "default: flush\n"),
        (HEAD, ""),
        ("version: 1", "version: 2"),
        (HEAD, f"{HEAD}retry: {{max_attempts: 0}}\n"),
        (HEAD, f"{HEAD}retry: {{base_delay_s: 50}}\n"),
        (HEAD, f"{HEAD}encoder: {{type: gemini, path: a}}\n"),
        (HEAD, f"{HEAD}semantic: {{top_k: many}}\n"),
        (HEAD, f"{HEAD}learned: {{quality: 0}}\n"),
        (HEAD, f"{HEAD}rules: [{{name: a, when: {{text: true}}, tier: pro, model: mid}}]\n"),
        (HEAD, f"{HEAD}rules: [{{name: a, when: {{text: true}}}}]\n"),
        (HEAD, f"{HEAD}rules: [{{name: a, when: {{}}, tier: pro}}]\n"),
        (HEAD, f"{HEAD}rules: [{{name: a, tier: pro}}]\n"),
        (HEAD, f"{HEAD}rules: [{{name: a, when: {{tokens: {{min: 2, max: 1}}}}, tier: pro}}]\n"),
        (HEAD, f"{HEAD}rules: [just words]\n"),
        (HEAD, f"{HEAD}routs: []\n"),
        ("    tier: pro\n    model", "    model"),
        ("    model: mid\n", ""),
        ("    model: mid\n", "    model: 7\n"),
        ("name: chat", "name: chat/small"),
        ("    tier: flash\n    model: mid\n", "    tier: flesh\n    model: mid\n"),
        ("fallback: [mid]", "fallback: mid"),
        ("fallback: [mid]", "thinking_budget: -5"),
        ("    price: {input: 1, output: 2, cached_input: 0.1}\n", ""),
        ("    context_window: 1000\n", ""),
        ("    timeout_s: 5\n", "    timeout_s: soon\n"),
        ("      output: 2\n", "      output: -2\n"),
        ("  mid:\n", "  small: 5\n  mid:\n"),
    ],
)
def test_a_mistake_of_the_schema_hides_no_other(tmp_path: Path, old: str, new: str) -> None:
    """It is told once, and the utterance that is there twice is told too."""
    text = GOOD.replace("[Hello.]", "[Hello., prove it.]")
    assert old in text
    said = complaint(tmp_path, text.replace(old, new, 1)).splitlines()
    assert len(said) == 2
    assert (
        sum("utterances[1]: the route 'hard' has this utterance too." in one for one in said) == 1
    )


def test_a_group_with_a_tier_is_a_group(tmp_path: Path) -> None:
    """Its sub-routes are checked all the same."""
    group = (
        "  - name: law\n    tier: pro\n    routes:\n"
        "      - {name: x, tier: pro, model: huge, utterances: [a]}\n"
    )
    said = complaint(tmp_path, GOOD.replace("models:", f"{group}models:")).splitlines()
    assert [line.split(" ")[1] for line in said] == ["routes[2]:", "routes[2].routes[0].model:"]


def test_what_a_misspelt_key_holds_is_checked_where_it_stands(tmp_path: Path) -> None:
    """Under its own name and line."""
    said = complaint(tmp_path, GOOD.replace("fallback: [mid]", "fallbak: [mdi]")).splitlines()
    assert [line.split(" ")[0:2] for line in said] == [
        ["router.yaml:7:", "routes[0].fallbak:"],
        ["router.yaml:7:", "routes[0].fallbak[0]:"],
    ]
