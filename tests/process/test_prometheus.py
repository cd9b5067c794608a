"""A real Prometheus scrapes live workers: every panel shows something, every rule is evaluated."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import yaml

from promptyard.batch import BatchStatus
from promptyard.child import spawn
from promptyard.embedded import EmbeddedServer
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.monitoring import DEPLOY, alerts, panels
from tests.process.conftest import START_S, Yard
from tests.servers import free_port
from tests.web import get, get_json

PROGRAM: Final = shutil.which("prometheus")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(PROGRAM is None, reason="no prometheus: Debian's package of that name"),
]

EXPORTER, WORKER, FLOWER = "promptyard-exporter", "promptyard-worker", "promptyard-flower"
FLASH, LITE = "gemini-2.5-flash", "gemini-2.5-flash-lite"
#: What Grafana would put in for its variables.
VARIABLES: Final = {"$__rate_interval": "1m", "$__range": "5m", "$__interval": "1s"}
SCHEMA: Final = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 0}},
    "required": ["age"],
}
#: Panels that may stay empty, and why.
EMPTY: Final = {"Alerts": "none rings"}
#: Answers of a turn that are repaired: one of each model. A batch does not count them.
REPAIRS: Final = 3


def write_config(path: Path, targets: dict[str, list[str]]) -> Path:
    """The repository's, at these addresses and every second. Flower has a test of its own."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    folder = DEPLOY / "prometheus"
    config["rule_files"] = [str(folder / name) for name in config["rule_files"]]
    names = {job["job_name"] for job in config["scrape_configs"]}
    assert names == {*targets, FLOWER}
    config["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": found}]}
        for name, found in targets.items()
    ]
    path.write_text(yaml.safe_dump(config))
    return path


@dataclass(frozen=True)
class Watched:
    """A yard, and the Prometheus that watches it."""

    yard: Yard
    #: Of Prometheus' API.
    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression, now; it must be one."""
        status, text = get(f"{self.url}/query?{urlencode({'query': expression})}")
        assert status == 200, f"{expression}: {text}"
        found = json.loads(text)["data"]
        assert found["resultType"] == "vector", expression
        series: list[dict[str, Any]] = found["result"]
        return series

    def number(self, expression: str) -> float:
        """The only value of an expression; 0 if there is none."""
        return sum(float(one["value"][1]) for one in self.query(expression))

    def await_number(self, expression: str, expected: float) -> None:
        """Wait until it has been scraped."""
        wait_until(
            lambda: self.number(expression) == expected,
            description=f"{expression} is {expected}",
            timeout_s=START_S,
        )

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, as Prometheus has it."""
        groups = get_json(f"{self.url}/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def await_targets(self, expected: int) -> None:
        """Wait until every target has been scraped well."""

        def up() -> bool:
            found = get_json(f"{self.url}/targets")["data"]["activeTargets"]
            return [target["health"] for target in found] == ["up"] * expected

        wait_until(up, description="all targets are up", timeout_s=START_S)


@pytest.fixture
def watched(tmp_path: Path, sim: SimServer) -> Iterator[Watched]:
    """Two workers and an exporter, scraped."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        yard = Yard(tmp_path, server.url, sim)
        try:
            yard.limit(LITE, rpm=100_000, tpm=100_000_000)
            ports = [free_port() for _ in range(4)]
            flags = [["--metrics-port", str(port)] for port in ports]
            workers = [
                yard.launch("classify", "lite", flags=flags[0]),
                yard.launch("pro", "flash", flags=flags[1]),
            ]
            yard.beside("exporter", "--port", str(ports[2]))
            yard.ready(*workers)
            addresses = [f"127.0.0.1:{port}" for port in ports]
            targets = {EXPORTER: addresses[2:3], WORKER: addresses[:2]}
            config = write_config(tmp_path / "prometheus.yml", targets)
            with _prometheus(config, addresses[3]) as url:
                made = Watched(yard, url)
                made.await_targets(3)
                yield made
            yard.check_invariants()
        finally:
            yard.close()


@contextmanager
def _prometheus(config: Path, address: str) -> Iterator[str]:
    """Prometheus, once it is ready; gives the URL of its API."""
    assert PROGRAM is not None
    options = {
        "config.file": str(config),
        "storage.tsdb.path": str(config.parent / "prometheus"),
        "web.listen-address": address,
        "log.level": "warn",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    child = spawn("prometheus", [PROGRAM, *words], log=config.parent / "prometheus.log")

    def ready() -> bool:
        assert child.poll() is None, child.tail()
        return get(f"http://{address}/-/ready")[0] == 200

    try:
        wait_until(ready, description="Prometheus is ready", timeout_s=START_S)
        yield f"http://{address}/api/v1"
    finally:
        child.stop(10)


def faulty_jobs(turn: int) -> list[Job]:
    """Jobs of every tier with every kind of fault; of each prompt one a turn."""
    routed = [Job(contents=f"Turn {turn}: translate the number {n}.") for n in range(20)]
    routed += [Job(contents=f"Turn {turn}: prove that {n} is no square.") for n in (5, 7, 8)]
    return [
        *routed,
        *(Job(contents=f"Plain {turn}", tier=tier) for tier in Tier),
        *(Job(contents=f"Busy {tier} {turn} [[sim: 503 x2]]", tier=tier) for tier in Tier),
        *(
            Job(contents=f"Away {tier} {turn} [[sim: 503 x4]]", tier=tier)
            for tier in (Tier.PRO, Tier.LITE)
        ),
        Job(contents=f"Mute {turn} [[sim: empty x1]]", tier=Tier.FLASH),
        Job(contents=f"Full {turn} [[sim: 429 x1, quota=rpm, retry=100ms]]", tier=Tier.FLASH),
        Job(contents=f"Bad {turn} [[sim: 400]]", tier=Tier.LITE),
        Job(contents=f"Ugly {turn} [[sim: safety]]", tier=Tier.FLASH),
        Job(
            contents=f'How old {turn}? [[sim: answer={{"age": -1}}]]',
            tier=Tier.LITE,
            response_schema=SCHEMA,
        ),
    ]


def run_turn(watched: Watched, turn: int) -> BatchStatus:
    """A batch, until Prometheus has seen its end."""
    yard = watched.yard
    status = yard.finish(yard.producer.submit_batch(faulty_jobs(turn)))
    assert status.counts[JobState.BLOCKED] == 1
    assert status.counts[JobState.FAILED] == 2
    wait_until(
        lambda: (
            watched.number("sum(promptyard_jobs_total)") == turn * status.total
            and watched.number('promptyard_batches{state="done"}') == turn
        ),
        description="Prometheus has seen the batch",
    )
    return status


def counters_start_at_zero(watched: Watched, status: BatchStatus) -> None:
    """Of the first fault of each kind Prometheus sees an increase, and all are the store's."""
    # a batch counts every move as a retry
    retries = status.retries - status.fallbacks - status.escalations + REPAIRS
    counted = {"retries": retries, "fallbacks": status.fallbacks, "escalations": status.escalations}
    assert min(counted.values()) > 0
    for name, count in counted.items():  # a move may be scraped later than the job's end elsewhere
        watched.await_number(f"sum(promptyard_{name}_total)", count)
    for name in (*counted, "rate_limited", "tokens", "cost_usd"):
        assert watched.number(f"sum(increase(promptyard_{name}_total[5m]))") > 0, name
    blocked = 'promptyard_jobs_total{state="blocked"}'
    assert watched.number(f"sum(increase({blocked}[5m]))") > 0


def filled(expression: str) -> str:
    """With Grafana's variables put in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def faults_of(watched: Watched, panel: dict[str, Any]) -> list[str]:
    """What is wrong with a panel: an expression without a number, a legend without its label."""
    found = []
    for target in panel["targets"]:
        series = watched.query(filled(target["expr"]))
        if not any(math.isfinite(float(one["value"][1])) for one in series):
            found.append(f"{target['expr']} has no number")
        labels = {label for one in series for label in one["metric"]}
        wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        if series and not wanted <= labels:
            found.append(f"no series has the legend's {wanted - labels}")
    return found


def test_every_panel_and_every_rule_works(watched: Watched) -> None:
    """Two turns, so that there are rates of what the first has brought."""
    counters_start_at_zero(watched, run_turn(watched, 1))
    run_turn(watched, 2)
    faults = {panel["title"]: faults_of(watched, panel) for panel in panels()}
    assert {name: found for name, found in faults.items() if found and name not in EMPTY} == {}

    wait_until(
        lambda: {rule["health"] for rule in watched.rules()} == {"ok"},
        description="every rule has been evaluated",
    )
    assert {rule["name"] for rule in watched.rules()} == {rule["alert"] for rule in alerts()}
    for rule in alerts():
        watched.query(rule["expr"])
    assert watched.query('ALERTS{alertstate="firing"}') == []
    watched.await_targets(3)
