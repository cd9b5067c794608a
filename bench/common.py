"""What the benchmarks share: prompts, a quiet Valkey, medians, the closing JSON line."""

from __future__ import annotations

import json
import platform
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from promptyard.embedded import EmbeddedServer

_WORDS = (
    "ticket order refund invoice customer delivery late parcel address summary report model "
    "please classify extract the following text and answer in one word reason priority"
)
_EXAMPLES = Path(__file__).parent.parent / "examples" / "prompts.jsonl"


def prompts(count: int, *, chars: int = 350, seed: int = 7) -> list[str]:
    """Prompts of varied text, about ``chars`` characters each (bulk.jsonl's mean is 352)."""
    rng, words = random.Random(seed), _WORDS.split()
    return [
        f"{n}: " + " ".join(rng.choices(words, k=max(3, int(rng.gauss(chars, chars / 3) / 7))))
        for n in range(count)
    ]


def example_prompts(count: int) -> list[str]:
    """The 300 example prompts over and over, each time another text: they fill every tier."""
    texts = [json.loads(line)["prompt"] for line in _EXAMPLES.read_text().splitlines()]
    return [f"{texts[n % len(texts)]}\n(No. {n})" for n in range(count)]


@contextmanager
def valkey(*, persist: bool = True) -> Iterator[EmbeddedServer]:
    """An embedded Valkey in a folder of its own."""
    with (
        tempfile.TemporaryDirectory() as home,
        EmbeddedServer(Path(home), persist=persist) as server,
    ):
        yield server


def close(figures: Mapping[str, object]) -> None:
    """Print the last line: one JSON object."""
    machine = {"python": platform.python_version(), "argv": sys.argv[1:]}
    print(json.dumps({**figures, **machine}))


def median(values: Sequence[float]) -> float:
    """Median, rounded to four digits of note."""
    return float(f"{statistics.median(values):.4g}")
