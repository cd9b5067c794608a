"""The station's router: it pays only for what the policy names, and its judge is a worker's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import yaml

from promptyard.job import Decision, Job
from promptyard.settings import Settings
from promptyard.store import keys
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer
from promptyard_worker.station import Station

LITE = "gemini-2.5-flash-lite"
MODEL = {
    "tier": "lite",
    "price": {"input": 0.1, "output": 0.4},
    "context_window": 1_000_000,
    "timeout_s": 60,
}
POLICY = {
    "version": 1,
    "default": "lite",
    "routes": [{"name": "easy", "tier": "lite", "model": LITE, "utterances": ["Hi."]}],
    "models": {LITE: MODEL},
}


def written(folder: Path, **more: object) -> Path:
    """A router file."""
    path = folder / "router.yaml"
    path.write_text(yaml.safe_dump({**POLICY, **more}))
    return path


#: What each kind of worker does without: 0.4 s and 35 MB of SDK, 0.8 s and 40 MB of routing.
UNUSED = {
    "classify": ("google.genai", "promptyard_worker.gemini", "promptyard_worker.generate"),
    "lite": (
        "semantic_router.route",
        "numpy",
        "model2vec",
        "tokenizers",
        "promptyard_worker.classify",
    ),
}


@pytest.mark.parametrize("queue", UNUSED)
def test_a_worker_loads_what_its_queue_needs(tmp_path: Path, queue: str) -> None:
    """Rules are compiled to be checked, in each of them, and cost a worker of tiers no more."""
    rules = [{"name": "proofs", "when": {"keywords": ["prove"], "regex": "Q[.]E"}, "tier": "lite"}]
    program = f"""
import sys
from importlib import import_module
from pathlib import Path
from promptyard.settings import Settings
from promptyard_worker.celery_app import task_modules
for name in task_modules([{queue!r}]):
    import_module(name)
from promptyard_worker.station import Station
station = Station(
    "redis://127.0.0.1:1/0",
    Settings(router_file=Path({str(written(tmp_path, rules=rules))!r})),
    concurrency=1,
    routes={queue == "classify"},
)
station.close()
print([name for name in {UNUSED[queue]!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_judge_has_the_workers_credentials_and_the_shared_allowance(
    redis_url: str, raw: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key and address come from the environment; calls and bill are in Redis."""
    entry = {"index": "1", "why": "A greeting.", "route": "easy", "confidence": 0.9}
    path = written(tmp_path, stages=["judge"], judge={"model": LITE})
    with SimServer(SimConfig(latency_scale=0, api_key="right")) as sim:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", sim.url)
        monkeypatch.setenv("GEMINI_API_KEY", "right")
        monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
        settings = Settings(router_file=path, home=tmp_path)
        station = Station(redis_url, settings, concurrency=1, routes=True)
        job = Job(contents=f"Hello. [[sim: answer={json.dumps([entry])}]]")
        (decision,) = station.policy.router.route([job])
        station.close()
        tokens = sim.stats()["tokens"]
    assert isinstance(decision, Decision)
    assert (decision.stage, decision.route, decision.reason) == ("judge", "easy", "A greeting.")
    assert raw.zcard(keys.JUDGE_CALLS) == 1
    (bill,) = [int(raw.get(key) or 0) for key in raw.scan_iter(f"{keys.JUDGE_BILL}*")]
    assert bill == pytest.approx(100 * tokens["prompt"] + 400 * tokens["candidates"], abs=2)
