"""How well a model's quota is used by four workers, and how many calls the server refuses.

    python bench/quota.py [--rounds 3] [--scenario a] [--scenario b] [--scenario c]

The stand-in counts as Google does: any 60 seconds. Scenarios: (a) bound by requests, (b) bound by
input tokens, of skewed lengths, (c) a limit in the router file that is 30 % too high. Beside it
``quota_baseline.py``, twice: its buckets hold a minute's limit, and a second's.

Ideal: the last prompt's start if each starts as early as the window allows, plus one latency.
Refused, doubled and lost are the stand-in's counts. Its token counts are the yard's estimates, and
nearly the baseline's; the real API's are not. The rounds are bound by waiting, so they run side by
side, each with a stand-in, a Valkey and workers of its own, and begin some seconds apart, so that
their bursts do not meet on the CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import re
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from common import close, median, prompts, valkey
from in_flight import stats
from overhead import children, wait_for
from quota_baseline import MODEL

from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard_worker import tokens

LATENCY_S = 0.2
WORKERS, CONCURRENCY = 4, 16
WINDOW_S = 60.0
#: Between the starts of two rounds: the yard's minute goes out within 5 s, the baseline's at once.
YARD_APART_S, BASELINE_APART_S = 7.0, 2.0
#: A round that is not done by then has lost something.
GIVE_UP_S = 900.0
#: Seconds of the limit that the baseline's buckets hold.
BUCKETS = {"bucket of a minute": 60.0, "bucket of a second": 1.0}
ROUTER = Path(__file__).parent.parent / "router.yaml"
TPM = 250_000
#: Of (b): its tokens in minutes of the limit, and the longest prompt's share of the limit.
MINUTES, LONGEST = 3.3, 0.04
_ORDER = f" [[sim: latency={LATENCY_S:g}s]]"


@dataclass(frozen=True)
class Scenario:
    """Prompts, what the server allows, and what the client believes it allows."""

    title: str
    texts: list[str]
    #: ``{"rpm": 300}`` or ``{"tpm": 250_000}``.
    server: dict[str, int]
    file: dict[str, int]
    wanted: str

    @cached_property
    def ideal_s(self) -> float:
        """No client is faster, if it calls in this order."""
        rpm, tpm = self.server.get("rpm", math.inf), self.server.get("tpm", math.inf)
        window: deque[tuple[float, int]] = deque()
        now_s = 0.0
        for size in map(tokens.count, self.texts):
            while len(window) >= rpm or sum(used for _, used in window) + size > tpm:
                now_s = window.popleft()[0] + WINDOW_S
            window.append((now_s, size))
        return now_s + LATENCY_S


def skewed(count: int) -> list[str]:
    """Prompts of log-normal lengths, ``MINUTES`` minutes of the tokens in all."""
    rng = random.Random(11)
    drawn = [rng.lognormvariate(0, 1) for _ in range(count)]
    unit, mean = 1.0, MINUTES * TPM / count
    sizes = drawn
    for _ in range(20):  # cutting the longest takes from the sum, so the rest grows a little
        unit *= mean / (sum(sizes) / count)
        sizes = [min(LONGEST * TPM, unit * size) for size in drawn]
    matter = " ".join(prompts(2000))
    texts = []
    for number, size in enumerate(sizes):
        start = f"{number}: "
        chars = max(0, int(4 * size) - len(start) - len(_ORDER))
        place = rng.randrange(len(matter) - chars)
        texts.append(start + matter[place : place + chars] + _ORDER)
    return texts


def scenarios() -> dict[str, Scenario]:
    """By letter, as the issue has them."""
    texts = [text + _ORDER for text in prompts(1000)]
    real, tpm = {"rpm": 300}, {"tpm": TPM}
    return {
        "a": Scenario("300 requests a minute", texts, real, real, "0.97 and no 429"),
        "b": Scenario(f"{TPM:,} tokens a minute", skewed(1000), tpm, tpm, "0.95, under 0.005"),
        "c": Scenario("390 in the file, 300 real", texts, real, {"rpm": 390}, "0.85, none failed"),
    }


@contextmanager
def stand_in(limits: dict[str, int]) -> Iterator[str]:
    """A stand-in with a quota, in a process of its own."""
    flags = [part for kind, most in limits.items() for part in (f"--{kind}", f"{MODEL}={most}")]
    with children([[sys.executable, "-m", "promptyard_worker.sim", "--port=0", *flags]]) as (sim,):
        wait_for(lambda: "http://" in sim.tail(), what="the stand-in is up", timeout_s=60)
        found = re.search(r"http://[\d.:]+", sim.tail())
        assert found, sim.tail()
        yield found[0]


def router_file(folder: Path, limits: dict[str, int]) -> Path:
    """A copy of the shipped file with a quota."""
    policy = yaml.safe_load(ROUTER.read_text())
    policy["models"][MODEL]["quota"] = limits
    path = folder / "router.yaml"
    path.write_text(yaml.safe_dump(policy, allow_unicode=True))
    return path


class Start:
    """Rounds begin one after the other, once all are ready."""

    def __init__(self, rounds: int, apart_s: float) -> None:
        self._all = threading.Barrier(rounds)
        self._apart_s = apart_s

    def wait(self, number: int) -> None:
        """Until it is this round's turn."""
        self._all.wait(timeout=300)
        time.sleep(number * self._apart_s)


def environment(**variables: object) -> list[str]:
    """What goes before a command to give it variables of its own (env(1))."""
    return [
        "env",
        "GEMINI_API_KEY=bench",
        *(f"{name}={value}" for name, value in variables.items()),
    ]


def yard(scenario: Scenario, start: Start, number: int) -> dict[str, float]:
    """One batch through four workers."""
    with (
        tempfile.TemporaryDirectory() as folder,
        stand_in(scenario.server) as url,
        valkey() as server,
        Producer(server.url) as producer,
    ):
        worker = environment(
            GOOGLE_GEMINI_BASE_URL=url,
            REDIS_URL=server.url,
            PROMPTYARD_ROUTER=router_file(Path(folder), scenario.file),
        )
        worker += [sys.executable, "-m", "promptyard_worker.worker", "--loglevel", "ERROR"]
        worker += [Tier.LITE.value, "--concurrency", str(CONCURRENCY)]
        with children([worker] * WORKERS):
            wait_for(lambda: len(producer.workers()) == WORKERS, what="the workers are up")
            start.wait(number)
            began = time.perf_counter()
            batch = producer.submit_batch(
                Job(contents=text, tier=Tier.LITE) for text in scenario.texts
            )
            while producer.status(batch).open and time.perf_counter() - began < GIVE_UP_S:
                time.sleep(0.05)
            measured_s = time.perf_counter() - began
        failed = producer.status(batch).counts.get(JobState.FAILED, 0)
        return figures_of(scenario, measured_s, failed, stats(url))


def baseline(scenario: Scenario, start: Start, number: int, burst_s: float) -> dict[str, float]:
    """The same prompts through ``quota_baseline.py``."""
    with tempfile.TemporaryDirectory() as folder, stand_in(scenario.server) as url:
        path = Path(folder) / "prompts.json"
        path.write_text(json.dumps(scenario.texts))
        command = environment(GOOGLE_GEMINI_BASE_URL=url)
        command += [sys.executable, str(Path(__file__).parent / "quota_baseline.py"), str(path)]
        command += ["--burst-s", str(burst_s)]
        command += [f"--{kind}={most}" for kind, most in scenario.file.items()]
        start.wait(number)
        with children([command]) as (child,):
            wait_for(
                lambda: child.poll() is not None, what="the baseline ends", timeout_s=GIVE_UP_S
            )
            assert child.poll() == 0, child.tail()
            own = json.loads(child.tail().splitlines()[-1])
        return figures_of(scenario, own["measured_s"], own["failed"], stats(url))


def figures_of(
    scenario: Scenario, measured_s: float, failed: int, counted: dict[str, Any]
) -> dict[str, float]:
    """The figures of one round; ``counted`` by the stand-in."""
    refused = sum(counted["rate_limited"].values())
    return {
        "measured_s": measured_s,
        "utilisation": scenario.ideal_s / measured_s,
        "refused": refused,
        "refused_per_call": refused / counted["calls"],
        "failed": failed,
        "doubled": counted["prompts_succeeded_more_than_once"],
        "lost": len(scenario.texts) - counted["prompts_succeeded"] - failed,
    }


def shown(name: str, rounds: Sequence[Future[dict[str, float]]]) -> dict[str, float]:
    """Print the medians of some rounds and give them; of what must not be, the worst."""
    found = [one.result() for one in rounds]
    best = {key: median([one[key] for one in found]) for key in found[0]}
    for key in ("failed", "doubled", "lost"):
        best[key] = max(one[key] for one in found)
    each = ", ".join(f"{one['utilisation']:.3f}" for one in found)
    print(
        f"{name:>22}: {best['measured_s']:5.1f} s, utilisation {best['utilisation']:.3f} ({each}), "
        f"429s a call {best['refused_per_call']:.4f} ({best['refused']:.0f}), "
        f"failed {best['failed']:.0f}, doubled {best['doubled']:.0f}, lost {best['lost']:.0f}",
        flush=True,
    )
    return best


def yard_rounds(one: Scenario, rounds: int) -> dict[str, float]:
    """A scenario's rounds through the yard, side by side."""
    start = Start(rounds, YARD_APART_S)
    with ThreadPoolExecutor(rounds) as pool:
        runs = [pool.submit(yard, one, start, number) for number in range(rounds)]
        return shown("yard", runs)


def baseline_rounds(chosen: dict[str, Scenario], rounds: int) -> dict[tuple[str, str], Any]:
    """All rounds of all scenarios through the baseline, side by side: they take next to no CPU."""
    cases = [(letter, bucket) for letter in chosen for bucket in BUCKETS]
    start = Start(len(cases) * rounds, BASELINE_APART_S)
    numbers = itertools.count()
    with ThreadPoolExecutor(len(cases) * rounds) as pool:
        runs = {
            (letter, bucket): [
                pool.submit(baseline, chosen[letter], start, next(numbers), BUCKETS[bucket])
                for _ in range(rounds)
            ]
            for letter, bucket in cases
        }
        return {case: shown(f"({case[0]}) {case[1]}", runs[case]) for case in cases}


def main() -> None:
    """Each scenario through the yard, then all through the baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenario", action="append", choices=list("abc"))
    options = parser.parse_args()
    chosen = {k: one for k, one in scenarios().items() if k in (options.scenario or "abc")}
    figures: dict[str, Any] = {"bench": "quota", "rounds": options.rounds}
    for letter, one in chosen.items():
        print(f"({letter}) {one.title}, {len(one.texts):,} prompts, ideal {one.ideal_s:.1f} s")
        figures[letter] = {"ideal_s": one.ideal_s, "yard": yard_rounds(one, options.rounds)}
        print(f"{'wanted':>22}: {one.wanted}", flush=True)
    for (letter, bucket), found in baseline_rounds(chosen, options.rounds).items():
        figures[letter][bucket.replace(" ", "_")] = found
    close(figures)


if __name__ == "__main__":
    main()
