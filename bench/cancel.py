"""Time to cancel a batch of queued jobs, beside cancelling its jobs one by one.

    python bench/cancel.py [--jobs 100000] [--rounds 3] [--singly 5000]

Half of the jobs wait for classify, half in a tier's queue, in an embedded Valkey (append-only
file, fsync every second). While they are cancelled another client asks for the time over and over:
its longest wait, and the longest script by Valkey's own slow log, say how far others are held up.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import redis
from common import close, median, prompts, valkey

from promptyard.job import Job
from promptyard.names import Tier
from promptyard.producer import Producer

WANTED_S = 5.0
WANTED_SCRIPT_MS = 20.0
#: Entries that Valkey keeps of commands slower than 0.5 ms.
SLOW_LOG = 10_000


@dataclass
class Figures:
    """What the rounds came to."""

    whole_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    single_ms: list[float] = field(default_factory=list)
    script_ms: list[float] = field(default_factory=list)
    longest_script_ms: list[float] = field(default_factory=list)
    wait_ms: list[float] = field(default_factory=list)


def ask(url: str, tell: Connection) -> None:
    """Ask for the time until told to stop; tell the longest wait, in ms."""
    longest_ms = 0.0
    with redis.Redis.from_url(url) as client:
        client.time()  # connected
        tell.send(0.0)
        while not tell.poll(0.0005):
            began = time.perf_counter()
            client.time()
            longest_ms = max(longest_ms, (time.perf_counter() - began) * 1000)
    tell.send(longest_ms)


@contextmanager
def bystander(url: str, waits_ms: list[float]) -> Iterator[None]:
    """Another client, in a process of its own; its longest wait is added."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=ask, args=(url, there))
    process.start()
    here.recv()
    try:
        yield
    finally:
        here.send(None)
        waits_ms.append(here.recv())
        process.join()


def cpu_used_s(client: redis.Redis) -> float:
    """CPU that Valkey has used; a busy neighbour on the machine does not change it much."""
    found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def settle(client: redis.Redis) -> None:
    """Wait until Valkey has rewritten the append-only file, which submitting set off."""
    while client.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.1)


def submitted(producer: Producer, texts: list[str]) -> tuple[str, list[str]]:
    """A batch of queued jobs: its id, and theirs."""
    jobs = [Job(contents=text, tier=Tier.LITE if n % 2 else None) for n, text in enumerate(texts)]
    return producer.submit_batch(jobs).id, [job.id for job in jobs]


def round_of(url: str, texts: list[str], singly: int, figures: Figures) -> None:
    """Cancel a whole batch, and some jobs one by one."""
    with Producer(url) as producer, redis.Redis.from_url(url) as client:
        batch_id, _ = submitted(producer, texts)
        settle(client)
        client.slowlog_reset()
        cpu_s = cpu_used_s(client)
        with bystander(url, figures.wait_ms):
            began = time.perf_counter()
            cancelled = producer.cancel(batch_id)
            figures.whole_s.append(time.perf_counter() - began)
        assert cancelled == len(texts)
        figures.cpu_s.append(cpu_used_s(client) - cpu_s)
        scripts_ms = [
            entry["duration"] / 1000
            for entry in client.slowlog_get(SLOW_LOG)
            if entry["command"].startswith(b"EVALSHA")
        ]
        figures.script_ms += scripts_ms
        figures.longest_script_ms.append(max(scripts_ms))
        client.flushall()
        _, ids = submitted(producer, texts[:singly])
        began = time.perf_counter()
        assert all(producer.cancel_job(job_id) for job_id in ids)
        figures.single_ms.append((time.perf_counter() - began) * 1000 / singly)
        client.flushall()


def _each(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def report(figures: Figures, jobs: int) -> None:
    """Print medians, and the line of JSON."""
    whole_s = median(figures.whole_s)
    singly_s = median(figures.single_ms) * jobs / 1000
    script_ms, longest_ms = median(figures.script_ms), median(figures.longest_script_ms)
    print(f"{'at once':>10}: {whole_s:.2f} s for {jobs:,} jobs   ({_each(figures.whole_s)})")
    print(f"{'':>10}  wanted: under {WANTED_S:g} s for 100,000")
    print(f"{'':>10}  Valkey's CPU: {median(figures.cpu_s):.2f} s")
    print(f"{'one by one':>10}: {singly_s:.1f} s, {singly_s / whole_s:.1f} times as long")
    print(f"{'a script':>10}: {script_ms:.1f} ms, longest {_each(figures.longest_script_ms)}")
    print(
        f"{'':>10}  wanted: under {WANTED_SCRIPT_MS:g}; a busy neighbour on the machine shows here"
    )
    print(f"{'others':>10}: wait at most {_each(figures.wait_ms)} ms")
    close(
        {
            "bench": "cancel",
            "jobs": jobs,
            "cancel_s": whole_s,
            "valkey_cpu_s": median(figures.cpu_s),
            "singly_s": round(singly_s, 2),
            "ratio": round(singly_s / whole_s, 2),
            "script_ms": script_ms,
            "longest_script_ms": longest_ms,
            "longest_wait_ms": median(figures.wait_ms),
        }
    )


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--singly", type=int, default=5_000)
    options = parser.parse_args()
    texts = prompts(options.jobs)
    figures = Figures()
    with valkey() as server, redis.Redis.from_url(server.url) as client:
        client.config_set("slowlog-log-slower-than", 500)  # microseconds
        client.config_set("slowlog-max-len", SLOW_LOG)
        for _ in range(options.rounds):
            round_of(server.url, texts, options.singly, figures)
    report(figures, options.jobs)


if __name__ == "__main__":
    main()
