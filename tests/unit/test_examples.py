"""What ships as examples and default policy is varied enough to show something."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from promptyard.formats.jsonl import read_jobs
from promptyard.job import Job
from promptyard_worker.routing.file import load_router

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "prompts.jsonl"


def examples() -> list[dict[str, Any]]:
    """The example lines."""
    return [json.loads(line) for line in EXAMPLES.read_text().splitlines()]


def test_every_example_is_a_job() -> None:
    """300 lines, each readable, none refused."""
    items = list(read_jobs(EXAMPLES, batch_id="b"))
    assert len(items) == 300
    assert all(isinstance(item, Job) for item in items)


def test_the_examples_are_not_one_template() -> None:
    """No two begin alike; from ten characters to two pages; many kinds and languages."""
    lines = examples()
    lengths = sorted(len(line["prompt"]) for line in lines)
    assert len({line["prompt"][:40].lower() for line in lines}) == 300
    assert lengths[0] <= 12
    assert sum(length >= 3000 for length in lengths) >= 10
    assert len({line["metadata"]["kind"] for line in lines}) >= 15
    languages = Counter(line["metadata"]["lang"] for line in lines)
    assert len(languages) >= 10
    assert sum(languages.values()) - languages["en"] >= 75


def test_each_tier_has_utterances_of_all_lengths() -> None:
    """At least 25 a tier; short-hard and long-easy ones among them."""
    routes = {
        route.tier.value: route.utterances for route in load_router(ROOT / "router.yaml").routes
    }
    assert all(len(set(utterances)) >= 25 for utterances in routes.values())
    assert any(len(utterance.split()) <= 10 for utterance in routes["pro"])
    assert any(len(utterance.split()) >= 40 for utterance in routes["lite"])
    assert any(len(utterance.split()) >= 40 for utterance in routes["flash"])
