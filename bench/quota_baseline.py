"""What a user would write: one asyncio process, a token bucket for requests and one for tokens.

    python bench/quota_baseline.py PROMPTS.json [--rpm 300] [--tpm 250000] [--burst-s 60]

google-genai's async client, a semaphore, buckets that hold ``--burst-s`` seconds of the limit and
refill all the time, tokens guessed as a quarter of the characters, exponential backoff on a 429.
``bench/quota.py`` runs it beside the yard. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path

from google import genai
from google.genai import errors

MODEL = "gemini-2.5-flash-lite"
TRIES = 5
AT_ONCE = 64


class Bucket:
    """A token bucket: at most ``burst_s`` seconds of a minute's limit at once."""

    def __init__(self, per_minute: int, burst_s: float, *, least: float = 1) -> None:
        self._rate = per_minute / 60
        self._capacity = self._level = max(least, self._rate * burst_s)
        self._refilled = time.monotonic()
        self._turn = asyncio.Lock()

    async def take(self, amount: float) -> None:
        """Wait until so much is there; first come, first served."""
        async with self._turn:
            self._refill()
            while self._level < amount:
                await asyncio.sleep((amount - self._level) / self._rate)
                self._refill()
            self._level -= amount

    def _refill(self) -> None:
        now = time.monotonic()
        self._level = min(self._capacity, self._level + (now - self._refilled) * self._rate)
        self._refilled = now


class Caller:
    """Calls the model under the buckets."""

    def __init__(self, rpm: int | None, tpm: int | None, burst_s: float, longest: float) -> None:
        self._client = genai.Client()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._requests = Bucket(rpm, burst_s) if rpm else None
        self._tokens = Bucket(tpm, burst_s, least=longest) if tpm else None

    async def ask(self, text: str) -> bool:
        """Whether the prompt was answered within the tries."""
        for attempt in range(TRIES):
            async with self._places:
                if self._requests:
                    await self._requests.take(1)
                if self._tokens:
                    await self._tokens.take(len(text) / 4)
                try:
                    await self._client.aio.models.generate_content(model=MODEL, contents=text)
                except errors.APIError as error:
                    if error.code != 429:
                        return False
                else:
                    return True
            if attempt + 1 < TRIES:
                await asyncio.sleep(2**attempt + random.random())
        return False


async def run(
    texts: list[str], rpm: int | None, tpm: int | None, burst_s: float
) -> dict[str, float]:
    """All prompts; how long it took and how many failed."""
    caller = Caller(rpm, tpm, burst_s, max(map(len, texts)) / 4)
    started = time.perf_counter()
    answered = await asyncio.gather(*(caller.ask(text) for text in texts))
    return {"measured_s": time.perf_counter() - started, "failed": answered.count(False)}


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--rpm", type=int)
    parser.add_argument("--tpm", type=int)
    parser.add_argument("--burst-s", type=float, default=60)
    options = parser.parse_args()
    texts = json.loads(options.prompts.read_text())
    figures = asyncio.run(run(texts, options.rpm, options.tpm, options.burst_s))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
