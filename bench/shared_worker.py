"""One worker of several tiers: how long flash takes alone, and beside a pro whose quota is tight.

    python bench/shared_worker.py [--rounds 3]

Sixteen slots, pro at 60 requests a minute: 150 jobs of pro and 300 of flash, of half a second each.
Baseline is flash by itself, in the same worker. If jobs that wait for quota kept every slot, flash
would end with pro: two minutes later.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml
from common import close, median
from overhead import children, rehearsal, wait_for

from promptyard.job import Job
from promptyard.names import Tier
from promptyard.producer import Producer

ROUTER = Path(__file__).parent.parent / "router.yaml"
PRO, RPM = "gemini-2.5-pro", 60
SLOTS, PRO_JOBS, FLASH_JOBS = 16, 150, 300
#: Flash alone has all slots; beside pro it has two thirds of them at least, and two seconds pass
#: before anybody is held up.
WANTED_RATIO = 2.0


def submitted(producer: Producer, tier: Tier, count: int) -> str:
    """A batch of one tier."""
    jobs = (Job(contents=f"No. {n} [[sim: latency=500ms]]", tier=tier) for n in range(count))
    return producer.submit_batch(jobs).id


def seconds_until_done(producer: Producer, batch_id: str) -> float:
    """From now."""
    began_s = time.perf_counter()
    wait_for(lambda: producer.status(batch_id).open == 0, what=batch_id, timeout_s=300)
    return time.perf_counter() - began_s


def run(redis_url: str) -> tuple[float, float, float]:
    """Seconds of flash alone, of flash beside pro, of pro."""
    command = [sys.executable, "-m", "promptyard_worker.worker", "--loglevel", "WARNING"]
    command += [*Tier, "--concurrency", str(SLOTS)]
    with Producer(redis_url) as producer, children([command]):
        wait_for(lambda: len(producer.workers()) == 1, what="the worker is up")
        alone_s = seconds_until_done(producer, submitted(producer, Tier.FLASH, FLASH_JOBS))
        pro = submitted(producer, Tier.PRO, PRO_JOBS)
        beside_s = seconds_until_done(producer, submitted(producer, Tier.FLASH, FLASH_JOBS))
        return alone_s, beside_s, beside_s + seconds_until_done(producer, pro)


def main() -> None:
    """Run the rounds, each on an empty Valkey, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    policy = yaml.safe_load(ROUTER.read_text())
    policy["models"][PRO]["quota"] = {"rpm": RPM}
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder, rehearsal() as (_, server):
            path = Path(folder) / "router.yaml"
            path.write_text(yaml.safe_dump(policy, allow_unicode=True))
            os.environ["PROMPTYARD_ROUTER"] = str(path)
            rounds.append(run(server.url))
    alone_s, beside_s, pro_s = (median(values) for values in zip(*rounds, strict=True))
    ratio = round(beside_s / alone_s, 2)
    print(f"flash alone {alone_s:.1f} s, beside pro {beside_s:.1f} s: {ratio} times")
    print(f"wanted: under {WANTED_RATIO}; pro {pro_s:.1f} s")
    close(
        {"bench": "shared_worker", "flash_alone_s": alone_s, "flash_beside_s": beside_s}
        | {"ratio": ratio, "pro_s": pro_s}
    )


if __name__ == "__main__":
    main()
