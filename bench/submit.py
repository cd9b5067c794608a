"""Submitted jobs a second, beside a loop of Celery's ``send_task`` with the same prompts.

    python bench/submit.py [--jobs 20000] [--rounds 3]

Both write to the same embedded Valkey (append-only file, fsync every second), in turn,
within one run. The loop is what Celery's guide shows: one ``send_task`` a prompt, the prompt
in the message. Ours stores a record of each job as well, which the loop does not.
"""

from __future__ import annotations

import argparse
import time

import redis
from celery import Celery
from common import close, median, prompts, valkey

from promptyard.producer import Producer


def loop(url: str, texts: list[str]) -> float:
    """Jobs a second of a send_task loop."""
    app = Celery("baseline", broker=url)
    started = time.perf_counter()
    for text in texts:
        app.send_task("baseline.generate", args=[text])
    rate = len(texts) / (time.perf_counter() - started)
    app.close()
    return rate


def ours(url: str, texts: list[str]) -> float:
    """Jobs a second of submit_batch."""
    with Producer(url) as producer:
        started = time.perf_counter()
        producer.submit_batch(texts)
        return len(texts) / (time.perf_counter() - started)


def bytes_per_job(texts: list[str]) -> float:
    """What one waiting job takes in a Valkey that holds nothing else."""
    with valkey(persist=False) as server, redis.Redis.from_url(server.url) as client:
        before = int(client.info("memory")["used_memory"])
        ours(server.url, texts)
        return (int(client.info("memory")["used_memory"]) - before) / len(texts)


def main() -> None:
    """Run both in turn and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = prompts(options.jobs)
    rates: dict[str, list[float]] = {"send_task": [], "submit_batch": []}
    with valkey() as server, redis.Redis.from_url(server.url) as client:
        for _ in range(options.rounds):
            rates["send_task"].append(loop(server.url, texts))
            client.flushall()
            rates["submit_batch"].append(ours(server.url, texts))
            client.flushall()
    job_bytes = bytes_per_job(texts)
    ratio = median(rates["submit_batch"]) / median(rates["send_task"])
    for name, values in rates.items():
        each = ", ".join(f"{value:,.0f}" for value in values)
        print(f"{name:>14}: {median(values):>9,.0f} jobs/s   ({each})")
    print(f"{'ratio':>14}: {ratio:.1f} (wanted: at least 10)")
    chars = sum(map(len, texts)) / len(texts)
    print(f"{'bytes a job':>14}: {job_bytes:,.0f} in Valkey, its prompt of {chars:.0f} included")
    close(
        {
            "bench": "submit",
            "jobs": options.jobs,
            "send_task_per_s": median(rates["send_task"]),
            "submit_batch_per_s": median(rates["submit_batch"]),
            "ratio": round(ratio, 2),
            "bytes_per_job": round(job_bytes),
        }
    )


if __name__ == "__main__":
    main()
