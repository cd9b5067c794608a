"""Whether the workers grow: memory and open files after each tenth of many jobs.

    python bench/soak.py [--jobs 150000]

Baseline is the first tenth, when all is loaded and warm. The stand-in answers at once.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from common import close, example_prompts
from in_flight import pss_mb
from overhead import CONCURRENCY, TIERS, children, rehearsal, wait_for

from promptyard.producer import Producer

PARTS = 10
NAMES = ("classify", *TIERS)
WANTED_GROWTH = 1.1


def main() -> None:
    """Run the tenths in turn and print what each left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=150_000)
    options = parser.parse_args()
    texts = example_prompts(1_000)
    worker = [sys.executable, "-m", "promptyard_worker.worker", "--loglevel", "WARNING"]
    commands = [[*worker, "classify", "--concurrency", "1"]]
    commands += [[*worker, tier, "--concurrency", str(CONCURRENCY)] for tier in TIERS]
    memory: list[list[float]] = []
    began_s = time.perf_counter()
    with (
        rehearsal() as (_, server),
        Producer(server.url) as producer,
        children(commands) as workers,
    ):
        wait_for(lambda: len(producer.workers()) == len(commands), what="the workers are up")
        for part in range(PARTS):
            batch = producer.submit_batch(
                f"{part}-{number} {texts[number % len(texts)]}"
                for number in range(options.jobs // PARTS)
            )
            wait_for(
                lambda done=batch: producer.status(done).open == 0,
                what="a tenth of the jobs",
                timeout_s=3600,
            )
            assert producer.status(batch).counts["succeeded"] == options.jobs // PARTS
            memory.append([pss_mb(child.pid) for child in workers])
            files = [len(list(Path(f"/proc/{child.pid}/fd").iterdir())) for child in workers]
            row = "  ".join(f"{name} {mb:.0f}" for name, mb in zip(NAMES, memory[-1], strict=True))
            print(f"{part + 1}/{PARTS}: MB {row}  Valkey {pss_mb(server.pid or 0):.0f}")
            print(f"      open files {files}")
    growth = {
        name: round(last / first, 3)
        for name, first, last in zip(NAMES, memory[0], memory[-1], strict=True)
    }
    jobs_per_s = options.jobs / (time.perf_counter() - began_s)
    print(f"last tenth / first: {growth} (wanted: under {WANTED_GROWTH}); {jobs_per_s:,.0f} jobs/s")
    close({"bench": "soak", "jobs": options.jobs, "jobs_per_s": round(jobs_per_s), **growth})


if __name__ == "__main__":
    main()
