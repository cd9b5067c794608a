"""Two workers that wait for a slow model: time against the ideal, and one worker's memory.

    python bench/latency_bound.py [--calls 200] [--jobs 2000] [--latency-s 1.0] [--rounds 3]

No quota. First ``--calls`` in flight over two worker processes, then all of them in one.
Ideal: jobs x latency / calls in flight. A round ends when every result is stored.
"""

from __future__ import annotations

import argparse
import sys
import time

from common import close, median, prompts
from in_flight import pss_mb, reset, stats
from overhead import children, cpu_s, rehearsal, wait_for

from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.producer import Producer

WANTED_RATIO, WANTED_MB = 1.15, 300


def run(
    url: str, redis_url: str, texts: list[str], *, processes: int, calls: int
) -> dict[str, float]:
    """One batch through so many workers, with so many calls in flight in all."""
    command = [sys.executable, "-m", "promptyard_worker.worker", "--loglevel", "WARNING"]
    command += [Tier.LITE.value, "--concurrency", str(calls // processes)]
    with Producer(redis_url) as producer, children([command] * processes) as workers:
        wait_for(lambda: len(producer.workers()) == processes, what="the workers are up")
        reset(url)
        cpu = sum(cpu_s(worker.pid) for worker in workers)
        began, memory = time.perf_counter(), 0.0
        batch = producer.submit_batch(Job(contents=text, tier=Tier.LITE) for text in texts)
        while producer.status(batch).open:
            memory = max(memory, *(pss_mb(worker.pid) for worker in workers))
            time.sleep(0.05)
        wall_s = time.perf_counter() - began
        cpu = sum(cpu_s(worker.pid) for worker in workers) - cpu
        assert producer.status(batch).counts[JobState.SUCCEEDED] == len(texts)
    return {
        "wall_s": wall_s,
        "pss_mb": memory,
        "cpu_ms": 1000 * cpu / len(texts),
        "in_flight": stats(url)["max_in_flight"],
    }


def main() -> None:
    """Run both in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--latency-s", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = [f"{text} [[sim: latency={options.latency_s}s]]" for text in prompts(options.jobs)]
    ideal_s = options.jobs * options.latency_s / options.calls
    found: dict[int, list[dict[str, float]]] = {2: [], 1: []}
    with rehearsal() as (url, server):
        for _ in range(options.rounds):
            for processes, rounds in found.items():
                rounds.append(run(url, server.url, texts, processes=processes, calls=options.calls))
    figures: dict[str, object] = {"bench": "latency_bound", "calls": options.calls}
    for processes, rounds in found.items():
        each = {name: median([one[name] for one in rounds]) for name in rounds[0]}
        each["measured_to_ideal"] = round(each["wall_s"] / ideal_s, 3)
        figures |= {f"workers_{processes}_{name}": value for name, value in each.items()}
        ratios = ", ".join(f"{one['wall_s'] / ideal_s:.3f}" for one in rounds)
        print(
            f"{processes} worker(s): {each['in_flight']:.0f} in flight, {each['wall_s']:.1f} s, "
            f"{each['measured_to_ideal']:.2f} of the ideal {ideal_s:.1f} s ({ratios}), "
            f"{each['pss_mb']:.0f} MB a worker, {each['cpu_ms']:.2f} ms CPU a job"
        )
    print(f"wanted: {WANTED_RATIO} over two workers, under {WANTED_MB} MB in one")
    close(figures)


if __name__ == "__main__":
    main()
