"""Hundreds of calls in flight in one worker process: memory, CPU, time against the ideal.

    python bench/in_flight.py [--calls 400] [--jobs 2000] [--latency-s 1.0] [--rounds 3]

The yard's pool (threads that wait on one event loop) beside the bare Celery task of
``baseline_app.py`` (threads with the SDK's synchronous client), both with ``--concurrency``
at ``--calls``, in turn, against the same stand-in. Ideal: jobs x latency / calls in flight.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from pathlib import Path

import redis
from common import close, median, prompts
from overhead import children, cpu_s, rehearsal, wait_for

from promptyard.job import Job
from promptyard.names import Tier
from promptyard.producer import Producer


def pss_mb(pid: int) -> float:
    """Proportional set size in MB (proc(5), smaps_rollup)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]
    return int(kilobytes) / 1024


def stats(url: str) -> dict[str, int]:
    """The stand-in's counters."""
    with urllib.request.urlopen(f"{url}/stats") as answer:
        found: dict[str, int] = json.load(answer)
    return found


def reset(url: str) -> None:
    """Set the stand-in's counters to zero."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/stats/reset", method="POST")).close()


def run(kind: str, url: str, redis_url: str, texts: list[str], calls: int) -> dict[str, float]:
    """One batch through one worker process."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall(asynchronous=False)
    pool = ["--concurrency", str(calls), "--loglevel", "WARNING"]
    if kind == "yard":
        command = [sys.executable, "-m", "promptyard_worker.worker", "lite", *pool]
    else:
        command = [sys.executable, "-m", "celery", "-A", "baseline_app", "worker"]
        command += ["-P", "threads", *pool]
    reset(url)
    with children([command]) as (worker,):
        started, cpu = time.perf_counter(), 0.0
        if kind == "yard":
            with Producer(redis_url) as producer:
                wait_for(producer.workers, what="the worker is up")
                cpu, started = cpu_s(worker.pid), time.perf_counter()
                producer.submit_batch(Job(contents=text, tier=Tier.LITE) for text in texts)
        else:
            from baseline_app import generate

            generate.delay(texts[0]).get(timeout=60)
            reset(url)
            cpu, started = cpu_s(worker.pid), time.perf_counter()
            for text in texts:
                generate.delay(text)
        memory = 0.0
        while stats(url)["succeeded"] < len(texts):
            memory = max(memory, pss_mb(worker.pid))
            time.sleep(0.05)
        wall_s = time.perf_counter() - started
        cpu = cpu_s(worker.pid) - cpu
    return {
        "wall_s": wall_s,
        "pss_mb": memory,
        "cpu_ms": 1000 * cpu / len(texts),
        "in_flight": stats(url)["max_in_flight"],
    }


def main() -> None:
    """Run both in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--latency-s", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = [f"{text} [[sim: latency={options.latency_s}s]]" for text in prompts(options.jobs)]
    ideal_s = options.jobs * options.latency_s / options.calls
    found: dict[str, list[dict[str, float]]] = {"bare": [], "yard": []}
    with rehearsal() as (url, server):
        for _ in range(options.rounds):
            for kind, rounds in found.items():
                rounds.append(run(kind, url, server.url, texts, options.calls))
    figures: dict[str, object] = {"bench": "in_flight", "calls": options.calls}
    for kind, rounds in found.items():
        each = {name: median([one[name] for one in rounds]) for name in rounds[0]}
        each["measured_to_ideal"] = round(each["wall_s"] / ideal_s, 3)
        figures |= {f"{kind}_{name}": value for name, value in each.items()}
        print(
            f"{kind}: {each['in_flight']:.0f} in flight, {each['pss_mb']:.0f} MB, "
            f"{each['cpu_ms']:.2f} ms CPU a job, {each['wall_s']:.1f} s "
            f"({each['measured_to_ideal']:.2f} of the ideal {ideal_s:.1f} s)"
        )
    close(figures)


if __name__ == "__main__":
    main()
