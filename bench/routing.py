"""What routing costs a prompt, beside semantic-router's own router; what a worker takes.

    python bench/routing.py [--router FILE] [--rounds 5]

On one core, with one BLAS thread; CPU is user and system time of this process. Prompts are the
examples, joined and cut to 450 characters, in chunks as the classify task gets them. Words are
new where the process has met none of them before: it remembers how words split.

* Scoring, with vectors that were made before: semantic-router's ``IndexedRouter`` by
  ``aevaluate`` on one event loop, the quicker of its two ways to choose a route for many texts;
  our router's scores and choice; and all of our stage, which names the nearest utterances, too.
* The whole decision: reading, every stage of the file but the judge, ``Decision`` objects;
  then its parts, and other policies than the file's.
* A fresh process that builds the router, with the library as it is and as we prepare it. A
  classify worker: when it takes jobs, its memory after some thousand prompts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from common import close, example_prompts, median, prompts, valkey
from overhead import children, wait_for
from semantic_router.encoders.base import DenseEncoder
from semantic_router.routers.indexed import IndexedRouter

from promptyard.job import Decision, Job, JobState
from promptyard.names import CLASSIFY_CHUNK, Tier
from promptyard.producer import Producer
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.file import load_router, packaged_router_file
from promptyard_worker.routing.learned.features import grams
from promptyard_worker.routing.learned.stage import LearnedStage
from promptyard_worker.routing.learned.surface import surface
from promptyard_worker.routing.pieces import embedded_reader
from promptyard_worker.routing.reading import Reading, pieces_of
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.semantic import SemanticStage
from promptyard_worker.routing.stage import Chunk, Fork
from promptyard_worker.routing.stages import RuleConfig

CHARS = 450
EXAMPLES = 300
WORKER_JOBS = 3_000
BULK = Path(__file__).parents[2] / "shared" / "data" / "bulk.jsonl"
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
#: One of each kind; hardly a prompt matches, so all of them are asked. The last is the dearest.
RULES: list[dict[str, Any]] = [
    {"keywords": ["ticket number", "refund", "invoice"]},
    {"regex": r"\border\s+#?\d{6,}\b"},
    {"metadata": {"kind": "tool"}, "response_schema": True},
    {"has": ["image", "video", "code"], "tokens": {"max": 300}},
    {"language": ["ko"]},
]
PROBE = """
import sys, time
from pathlib import Path
from promptyard_worker.routing.file import load_router
from promptyard_worker.routing.router import PromptRouter
PromptRouter(load_router(Path(sys.argv[1])))
status = Path("/proc/self/status").read_text()
print(time.process_time(), status.partition("VmHWM:")[2].split()[0])
"""


def of_length(texts: Sequence[str]) -> list[str]:
    """Each text once, joined and cut to 450 characters."""
    found, begun = [], ""
    for text in texts:
        begun = f"{begun}\n\n{text}".strip()
        if len(begun) >= CHARS:
            found.append(begun[:CHARS])
            begun = ""
    return found


def in_chunks(items: Sequence[Any]) -> list[Sequence[Any]]:
    """As the classify task gets them."""
    return [items[at : at + CLASSIFY_CHUNK] for at in range(0, len(items), CLASSIFY_CHUNK)]


class Clock:
    """Measures, prints and keeps."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.figures: dict[str, object] = {}

    def run(
        self, name: str, chunks: Sequence[Any], work: Callable[[Any], object], *, new: bool = False
    ) -> float:
        """Median microseconds of CPU a prompt; ``new``: words are, in every round."""
        cpu, wall = [], []
        count = sum(map(len, chunks))
        for _ in range(self.rounds):
            if new:
                embedded_reader.cache_clear()
                embedded_reader()
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            for chunk in chunks:
                work(chunk)
            cpu.append((time.process_time() - cpu_s) / count)
            wall.append((time.perf_counter() - wall_s) / count)
        cpu_us, wall_us = 1e6 * median(cpu), 1e6 * median(wall)
        shown = f"{cpu_us:>7.1f} us CPU {wall_us:>7.1f} us wall {1e6 / cpu_us:>9,.0f}/s"
        self.keep(name, {"cpu_us": round(cpu_us, 1), "wall_us": round(wall_us, 1)}, shown)
        return cpu_us

    def keep(self, name: str, figure: object, shown: str = "") -> None:
        """Print a line."""
        self.figures[name.replace(",", "").replace(" ", "_")] = figure
        print(f"{name:>26}: {shown or figure}")


class Given(ReadingEmbedder):
    """Hands out vectors that were made before, to our stage."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(StaticEncoder())
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors = self.embed_texts(texts)

    def embed(self, readings: Sequence[Reading]) -> Any:
        """As if it took no time."""
        return self._vectors[[self._rows[reading.text] for reading in readings]]


class GivenLists(DenseEncoder):
    """The same to semantic-router: lists, as from any encoder."""

    vectors: dict[str, list[float]]

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """As if it took no time."""
        return [self.vectors[doc] for doc in docs]

    async def acall(self, docs: list[Any]) -> list[list[float]]:
        """The same, awaited."""
        return self(docs)


def scoring(clock: Clock, config: RouterConfig, texts: Sequence[str], size: int) -> None:
    """Both over so many utterances, the first of them the file's own."""
    more, share = iter(prompts(size, chars=60)), size // len(config.routes)
    own = [tuple(islice(chain(one.utterances, more), share)) for one in config.routes]
    routes = tuple(
        one.model_copy(update={"utterances": texts, "routes": ()})
        for one, texts in zip(config.routes, own, strict=True)
    )
    given, root = Given(texts), Fork("", routes)
    stage = SemanticStage(config.model_copy(update={"routes": routes}), given)
    ours = stage._routers[""]
    known = [*texts, *chain.from_iterable(own)]
    vectors = dict(zip(known, given.embed_texts(known).tolist(), strict=True))
    lists = GivenLists(name="given", vectors=vectors)
    how = config.semantic
    theirs = IndexedRouter(lists, ours.routes, top_k=how.top_k, aggregation=how.aggregation)
    chunks = in_chunks([Reading(text) for text in texts])

    def choose(chunk: Sequence[Reading]) -> object:
        return ours.choose(ours.aggregate_routes(ours.similarities(given.embed(chunk))))

    def tell(chunk: Sequence[Reading]) -> object:
        return stage.opinions(Chunk(chunk, given), root)

    with asyncio.Runner() as loop:

        def evaluate(chunk: Sequence[Reading]) -> object:
            return loop.run(theirs.aevaluate([one.text for one in chunk], [None] * len(chunk)))

        them_us = clock.run(f"{size} utterances, library", chunks, evaluate)
    us = clock.run(f"{size} utterances, ours", chunks, choose)
    clock.run(f"{size} utterances, stage", chunks, tell)
    clock.keep(f"{size} utterances, ratio", round(them_us / us, 1))


def whole(clock: Clock, name: str, config: RouterConfig, texts: Sequence[str]) -> PromptRouter:
    """The whole decision."""
    router = PromptRouter(config)
    chunks = in_chunks([Job(contents=text) for text in texts])
    clock.run(f"{name}, words new", chunks, router.route, new=True)
    clock.run(name, chunks, router.route)
    outcomes = [one for chunk in chunks for one in router.route(chunk)]
    stages = Counter(one.stage for one in outcomes if isinstance(one, Decision))
    clock.keep(f"{name}, decided by", dict(stages))
    return router


def parts(clock: Clock, router: PromptRouter, texts: Sequence[str]) -> None:
    """What a decision is made of; words are known."""
    jobs, root = in_chunks([Job(contents=text) for text in texts]), router._root
    embedder, turns = router._embedder, router.config.context_turns
    read = [[Reading.of(job, context_turns=turns) for job in chunk] for chunk in jobs]
    clock.run("read", jobs, lambda chunk: [Reading.of(job, context_turns=turns) for job in chunk])
    clock.run("pieces", read, lambda chunk: embedded_reader().read([one.request for one in chunk]))
    pieces = [pieces_of(chunk) for chunk in read]
    clock.run("embed", read, embedder.embed)
    chunks = [Chunk(chunk, embedder) for chunk in read]
    for stage in router._stages:
        clock.run(f"{stage.name} stage", chunks, partial(stage.opinions, fork=root))
        if isinstance(stage, LearnedStage):
            clock.run("grams of it", pieces, grams)
            clock.run("surface of it", pieces, surface)


def policies(clock: Clock, config: RouterConfig, texts: Sequence[str]) -> None:
    """Whole decisions by other policies."""
    rules = tuple(RuleConfig(name=f"{n}", when=one, tier=Tier.LITE) for n, one in enumerate(RULES))
    hybrid = config.semantic.model_copy(update={"sparse": "bm25"})
    chunks = in_chunks([Job(contents=text) for text in texts])
    updates: dict[str, dict[str, Any]] = {
        "rules, no language": {"stages": ("rules",), "rules": rules[:-1]},
        "rules": {"stages": ("rules",), "rules": rules},
        "semantic": {"stages": ("semantic",)},
        "semantic with bm25": {"stages": ("semantic",), "semantic": hybrid},
        "learned": {"stages": ("learned",)},
    }
    for name, update in updates.items():
        policy = config.model_copy(update=update)
        clock.run(f"{name} alone", chunks, PromptRouter(policy).route)


def starts(clock: Clock, router_file: Path) -> None:
    """A process that builds the router and ends."""
    for name, first in (("as it is", "import semantic_router"), ("prepared", "")):
        found = []
        for _ in range(clock.rounds):
            command = [sys.executable, "-c", f"{first}\n{PROBE}", str(router_file)]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            found.append([float(figure) for figure in done.stdout.split()])
        cpu_s, peak_kb = (median(column) for column in zip(*found, strict=True))
        figure = {"cpu_s": cpu_s, "peak_mb": round(peak_kb / 1024)}
        clock.keep(f"start, library {name}", figure, f"{cpu_s:7.2f} s CPU, {peak_kb / 1024:.0f} MB")


def worker(clock: Clock, router_file: Path) -> None:
    """A classify worker over a Valkey of its own."""
    command = [sys.executable, "-m", "promptyard_worker.worker", "classify"]
    with valkey() as server:
        os.environ |= {"REDIS_URL": server.url, "PROMPTYARD_ROUTER": str(router_file)}
        started = time.perf_counter()
        with children([command]) as (child,), Producer(server.url) as producer:
            wait_for(producer.workers, what="the worker is up")
            start_s = time.perf_counter() - started
            batch = producer.submit_batch(example_prompts(WORKER_JOBS))
            wait_for(
                lambda: producer.status(batch).counts[JobState.ROUTED] == WORKER_JOBS,
                what="all prompts are routed",
            )
            status = Path(f"/proc/{child.pid}/status").read_text()
    resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    figure = {"start_s": round(start_s, 2), "resident_mb": round(resident_mb)}
    clock.keep("classify worker", figure, f"{start_s:7.2f} s to start, {resident_mb:.0f} MB")


def main() -> None:
    """Run all and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--router", type=Path, default=packaged_router_file())
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    config = load_router(options.router)
    order = tuple(stage for stage in config.stage_order if stage != "judge")
    config = config.model_copy(update={"stages": order, "judge": None})
    clock, texts = Clock(options.rounds), of_length(example_prompts(EXAMPLES))
    for size in (75, 3_000):
        scoring(clock, config, texts, size)
    router = whole(clock, "whole decision", config, texts)
    parts(clock, router, texts)
    policies(clock, config, texts)
    if BULK.exists():
        lines = BULK.read_text().splitlines()
        whole(clock, "bulk.jsonl", config, [json.loads(line)["prompt"] for line in lines])
    else:
        clock.keep("bulk.jsonl", "not in this clone")
    starts(clock, options.router)
    worker(clock, options.router)
    close({"bench": "routing", "prompts": len(texts), "chars": CHARS, **clock.figures})


if __name__ == "__main__":
    # read when numpy is loaded
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    main()
