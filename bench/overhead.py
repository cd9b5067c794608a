"""What the yard costs a job: jobs a second and CPU, at a model that answers at once.

    python bench/overhead.py [--jobs 3000] [--rounds 3]

Beside it, in the same run and against the same stand-in and Valkey (append-only file on):
a bare Celery task (``baseline_app.py``) on the threads pool with autoretry and the Redis
result backend, in one worker process and in as many as the yard has for its tiers. CPU is
user + system time of the producer, the workers and Valkey; the stand-in's is not counted.
A round ends when every result is stored. The yard runs twice: by itself, and watched, with
Celery's events, metrics and the decision log on, Flower and the exporter beside it, and everything
scraped every 5 s; their own CPU is not counted, what they cost workers and Valkey is.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from common import close, example_prompts, median, valkey

from promptyard.child import Child, spawn
from promptyard.embedded import EmbeddedServer
from promptyard.producer import Producer

HERE = Path(__file__).parent
CONCURRENCY = 64
WARM_UP = 200
#: Prometheus' default is a minute; its examples have 15 s.
READ_EVERY_S = 5.0
TIERS = ("pro", "flash", "lite")
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system seconds of a process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def wait_for(ready: Callable[[], object], *, what: str, timeout_s: float = 120) -> None:
    """Look every 20 ms until it holds."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {timeout_s} s: {what}")
        time.sleep(0.02)


@contextmanager
def children(commands: list[list[str]]) -> Iterator[list[Child]]:
    """Worker processes with our environment, ended at the end."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with tempfile.TemporaryDirectory() as logs, ExitStack() as stack:
        started = []
        for number, command in enumerate(commands):
            child = spawn(f"bench-{number}", command, log=Path(logs) / f"{number}.log", env=env)
            stack.callback(child.stop, 10)
            started.append(child)
        yield started


class Round:
    """Wall time and CPU of one batch."""

    def __init__(self, jobs: int, pids: list[int]) -> None:
        self._jobs, self._pids = jobs, pids
        self._before = self._cpu()
        self._started = time.perf_counter()

    def _cpu(self) -> float:
        return sum(cpu_s(pid) for pid in [*self._pids, os.getpid()])

    def end(self) -> tuple[float, float]:
        """(jobs a second, CPU milliseconds a job)."""
        wall_s = time.perf_counter() - self._started
        return self._jobs / wall_s, 1000 * (self._cpu() - self._before) / self._jobs


def bare(server: EmbeddedServer, texts: list[str], processes: int) -> tuple[float, float]:
    """The baseline, warmed up, then measured."""
    from baseline_app import generate  # reads REDIS_URL

    command = [sys.executable, "-m", "celery", "-A", "baseline_app", "worker", "-P", "threads"]
    command += ["-c", str(CONCURRENCY), "--loglevel=WARNING"]
    commands = [[*command, "-n", f"bare{number}@%h"] for number in range(processes)]
    with redis.Redis.from_url(server.url) as client:
        client.flushall(asynchronous=False)
        with children(commands) as workers:

            def finished(count: int) -> bool:
                # counting keys walks them all, so only once there can be enough
                return client.dbsize() >= count and len(client.keys("celery-task-meta-*")) >= count

            for text in texts[:WARM_UP]:
                generate.delay(text)
            wait_for(lambda: finished(WARM_UP), what="the baseline's warm-up")
            measured = Round(len(texts), [child.pid for child in workers] + [server.pid or 0])
            for text in texts:
                generate.delay(text)
            wait_for(lambda: finished(WARM_UP + len(texts)), what="the baseline's results")
            return measured.end()


def yard(
    server: EmbeddedServer, texts: list[str], *, watch: Watch | None = None
) -> tuple[float, float]:
    """Promptyard: classify and one worker a tier, warmed up, then measured."""
    worker = [sys.executable, "-m", "promptyard_worker.worker", "--loglevel", "WARNING"]
    commands = [[*worker, "classify", "--concurrency", "1"]]
    commands += [[*worker, tier, "--concurrency", str(CONCURRENCY)] for tier in TIERS]
    if watch is not None:
        commands = [[*command, *watch.flags()] for command in commands]
    with Producer(server.url) as producer, children(commands) as workers:
        wait_for(lambda: len(producer.workers()) == len(commands), what="the yard's workers are up")
        if watch is not None:
            watch.wait_until_all_answer()
        warm_up = producer.submit_batch(texts[:WARM_UP])
        wait_for(lambda: producer.status(warm_up).open == 0, what="the warm-up batch")
        measured = Round(len(texts), [child.pid for child in workers] + [server.pid or 0])
        batch = producer.submit_batch(texts)
        wait_for(lambda: producer.status(batch).open == 0, what="the yard's results")
        figures = measured.end()
        counts = producer.status(batch).counts
        assert counts["succeeded"] == len(texts), counts
        return figures


class Watch:
    """Flower, the exporter, and somebody who reads all metrics."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._urls: list[str] = []
        self._is_over = threading.Event()

    def flags(self) -> list[str]:
        """Of one more worker."""
        return ["--events", "--metrics-port", str(self._port())]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Both servers run, and are read."""
        os.environ["PROMPTYARD_DECISION_LOG"] = str(self._log)
        cli = [sys.executable, "-m", "promptyard"]
        servers = [[*cli, name, "--port", str(self._port())] for name in ("flower", "exporter")]
        reader = threading.Thread(target=self._read)
        try:
            with children(servers):
                self.wait_until_all_answer()
                reader.start()
                yield
                self._is_over.set()
                reader.join()
        finally:
            del os.environ["PROMPTYARD_DECISION_LOG"]

    def wait_until_all_answer(self) -> None:
        """Every port is there."""
        wait_for(lambda: all(map(_answers, self._urls)), what="all metrics are there")

    def lines(self) -> int:
        """Of the decision log."""
        return len(self._log.read_text().splitlines())

    def _port(self) -> int:
        self._urls.append(f"http://127.0.0.1:{(port := _free_port())}/metrics")
        return port

    def _read(self) -> None:
        while not self._is_over.wait(READ_EVERY_S):
            for url in list(self._urls):
                _answers(url)


def watched(server: EmbeddedServer, texts: list[str]) -> tuple[float, float]:
    """The yard with everything on that watches it."""
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(Path(folder) / "decisions.jsonl")
        with watch.on():
            figures = yard(server, texts, watch=watch)
        assert watch.lines() == len(texts) + WARM_UP, watch.lines()
        return figures


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.read())
    except OSError:
        return False


def main() -> None:
    """Run all in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = example_prompts(options.jobs)
    names = ("bare x1", f"bare x{len(TIERS)}", "yard", "watched")
    rates: dict[str, list[float]] = {name: [] for name in names}
    cpus: dict[str, list[float]] = {name: [] for name in names}
    with rehearsal() as (_, server):
        for _ in range(options.rounds):
            for name in names:
                if name == "yard":
                    rate, cpu = yard(server, texts)
                elif name == "watched":
                    rate, cpu = watched(server, texts)
                else:
                    rate, cpu = bare(server, texts, int(name[-1]))
                rates[name].append(rate)
                cpus[name].append(cpu)
    for name in names:
        print(
            f"{name:>8}: {median(rates[name]):>7,.0f} jobs/s  {median(cpus[name]):.2f} ms CPU a job"
        )
    close(_figures(options.jobs, names, rates, cpus))


def _figures(
    jobs: int, names: tuple[str, ...], rates: dict[str, list[float]], cpus: dict[str, list[float]]
) -> dict[str, object]:
    figures: dict[str, object] = {"bench": "overhead", "jobs": jobs}
    for name in names:
        key = name.replace(" ", "_")
        figures[f"{key}_per_s"], figures[f"{key}_cpu_ms"] = median(rates[name]), median(cpus[name])
        if name.startswith("bare"):
            rate = median(rates["yard"]) / median(rates[name])
            cpu = median(cpus["yard"]) / median(cpus[name])
            figures[f"rate_ratio_{key}"], figures[f"cpu_ratio_{key}"] = (
                round(rate, 2),
                round(cpu, 2),
            )
            print(f"yard / {name}: {rate:.2f} jobs/s (wanted >= 1), {cpu:.2f} CPU (wanted <= 1)")
    rate = median(rates["watched"]) / median(rates["yard"])
    cpu = median(cpus["watched"]) / median(cpus["yard"])
    figures |= {"rate_ratio_watched": round(rate, 2), "cpu_ratio_watched": round(cpu, 2)}
    print(f"watched / yard: {rate:.2f} jobs/s (wanted >= 0.9), {cpu:.2f} CPU (wanted <= 1.1)")
    return figures


@contextmanager
def stand_in() -> Iterator[str]:
    """The stand-in at no latency, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        log = Path(folder) / "sim.log"
        argv = [sys.executable, "-m", "promptyard_worker.sim", "--port", str(port)]
        child = spawn("stand-in", [*argv, "--latency-scale", "0"], log=log)
        try:
            wait_for(lambda: "127.0.0.1" in child.tail(), what="the stand-in is up", timeout_s=20)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.stop(5)


@contextmanager
def rehearsal() -> Iterator[tuple[str, EmbeddedServer]]:
    """The stand-in's URL and a Valkey, both named in our environment."""
    with stand_in() as url, valkey() as server:
        os.environ |= {
            "GOOGLE_GEMINI_BASE_URL": url,
            "GEMINI_API_KEY": "bench",
            "REDIS_URL": server.url,
        }
        yield url, server


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
