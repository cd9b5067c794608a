"""A worker's start: seconds, CPU and memory, by what its router file asks for.

    python bench/worker_start.py [--utterances 3000] [--reloads 10] [--rounds 3]

``plain`` is the shipped router file. ``rich`` has rules (keywords, a regex, a language, media)
and as many utterances of 200 characters as asked. A batch of 1,200 prompts is routed, then the
file is changed again and again under the worker. Memory is in MB, resident and proportional
(smaps_rollup).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import redis
import yaml
from common import close, example_prompts, median, prompts, valkey
from overhead import children, cpu_s, wait_for

from promptyard.child import Child
from promptyard.job import Job
from promptyard.producer import Producer
from promptyard_worker.routing import load_router

_ROUTER = Path(__file__).parent.parent / "router.yaml"
_RULES = [
    {"name": "pictures", "when": {"has": ["image"]}, "tier": "flash"},
    {"name": "polish", "when": {"language": ["pl"]}, "tier": "flash"},
    {
        "name": "proofs",
        "when": {"keywords": ["q.e.d."], "regex": r"(?i)\btheorem\b"},
        "tier": "pro",
    },
]
#: Of the batch that is routed.
_PROMPTS = 1200


def memory_mb(pid: int) -> dict[str, float]:
    """Resident and proportional set size (proc(5), smaps_rollup)."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = {row.split()[0]: int(row.split()[1]) / 1024 for row in rows[1:]}
    return {"rss": found["Rss:"], "pss": found["Pss:"]}


def rich(policy: dict[str, Any], utterances: int) -> dict[str, Any]:
    """The policy with rules, and with this many utterances."""
    share, texts = utterances // len(policy["routes"]), iter(prompts(utterances, chars=200))
    for route in policy["routes"]:
        route["utterances"] += [next(texts) for _ in range(share - len(route["utterances"]))]
    return {**policy, "rules": _RULES}


def start(queue: str, path: Path, redis_url: str, reloads: int) -> dict[str, float]:
    """One worker, from its start to its last reload."""
    os.environ.update(REDIS_URL=redis_url, PROMPTYARD_ROUTER=str(path), GEMINI_API_KEY="none")
    command = [sys.executable, "-m", "promptyard_worker.worker", queue]
    with redis.Redis.from_url(redis_url) as client:
        client.flushall(asynchronous=False)
    with Producer(redis_url) as producer:
        begun = time.perf_counter()
        with children([command]) as (worker,):
            wait_for(lambda: serving(producer, worker), what="the worker is up")
            figures = {"start_s": time.perf_counter() - begun, "start_cpu_s": cpu_s(worker.pid)}
            figures |= {f"ready_{name}_mb": mb for name, mb in memory_mb(worker.pid).items()}
            if queue == "classify":
                route(producer)
                figures |= {f"routed_{name}_mb": mb for name, mb in memory_mb(worker.pid).items()}
            for number in range(reloads):
                change(path, number)
                wait_for(
                    partial(serving, producer, worker, load_router(path).policy_version),
                    what="the new policy is in force",
                )
            figures |= {f"reloaded_{name}_mb": mb for name, mb in memory_mb(worker.pid).items()}
    return figures


def serving(producer: Producer, worker: Child, version: str | None = None) -> bool:
    """Whether the worker shows itself (with this policy in force)."""
    cards = [card for card in producer.workers() if card.pid == worker.pid]
    return any(version in (None, card.policy_version) for card in cards)


def route(producer: Producer) -> None:
    """Have a batch routed; nobody calls the models."""
    batch = producer.submit_batch([Job(contents=text) for text in example_prompts(_PROMPTS)])

    def is_routed() -> bool:
        return sum(tier.routed for tier in producer.status(batch).tiers.values()) == _PROMPTS

    wait_for(is_routed, what="the batch is routed")


def change(path: Path, number: int) -> None:
    """Change the router file, all at one moment."""
    draft = path.with_suffix(".draft")
    draft.write_text(f"{path.read_text()}\n# change {number}\n")
    draft.replace(path)


def main() -> None:
    """Measure each in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=3000)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    shipped = yaml.safe_load(_ROUTER.read_text())
    more = rich(yaml.safe_load(_ROUTER.read_text()), options.utterances)
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, valkey(persist=False) as server:
        path = Path(folder) / "router.yaml"
        for queue, kind, policy in (
            ("classify", "plain", shipped),
            ("classify", "rich", more),
            ("lite", "rich", more),
        ):
            found = []
            for _ in range(options.rounds):
                path.write_text(yaml.safe_dump(policy, allow_unicode=True))
                found.append(start(queue, path, server.url, options.reloads))
            name = f"{queue}, {kind}"
            figures[name] = {key: median([one[key] for one in found]) for key in found[0]}
            print(f"{name}: " + ", ".join(f"{k} {v:g}" for k, v in figures[name].items()))
    close(figures)


if __name__ == "__main__":
    main()
