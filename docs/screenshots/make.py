"""Takes the pictures of the documentation, in headless Chromium (Debian: `apt install chromium`).

    python docs/screenshots/make.py [NAME...]

Without a name it takes all of them. Each is a function here that makes a page and gives its
address and the size of the window.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from promptyard import Job, Producer
from promptyard.names import Tier

HERE: Final = Path(__file__).resolve().parent
FLOWER_PORT: Final = 15555
WAIT_S: Final = 60.0
PROMPTS: Final = (
    "Translate 'good morning' into Portuguese.",
    "Write a friendly reply to a customer whose parcel is late.",
    "Prove that every bounded monotone sequence of real numbers converges.",
)
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")

#: Address, width and height.
Shot = tuple[str, int, int]


@contextlib.contextmanager
def report() -> Iterator[Shot]:
    """The report of `promptyard demo`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "promptyard", "demo", "--quiet"],
            cwd=folder,
            env={**os.environ, "PROMPTYARD_HOME": f"{folder}/home"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        yield (Path(folder) / "report.html").as_uri(), 1200, 2000


@contextlib.contextmanager
def flower() -> Iterator[Shot]:
    """Flower's list of tasks while a batch runs; some of pro meet an outage and go to flash."""
    url = f"http://127.0.0.1:{FLOWER_PORT}"
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "PROMPTYARD_HOME": home, "FLOWER_PORT": str(FLOWER_PORT)}
        environ["FLOWER_UNAUTHENTICATED_API"] = "true"
        command = [sys.executable, "-m", "promptyard", "up", "--flower"]
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as up:
            try:
                line = up.stdout.readline() if up.stdout else ""
                redis_url = line.strip().removeprefix("export REDIS_URL=")
                _until(lambda: len(_ask(f"{url}/api/workers?refresh=1")) == 4)
                jobs = [Job(contents=f"{text} ({n})") for n in range(25) for text in PROMPTS]
                jobs += [Job(contents=f"{n} [[sim: 503 x4]]", tier=Tier.PRO) for n in range(3)]
                with Producer(redis_url) as yard:
                    yard.submit_batch(jobs)
                _until(lambda: len(_ended(url)) > len(jobs) / 2)
                yield f"{url}/tasks", 1280, 900
            finally:
                up.terminate()


def _ended(url: str) -> list[str]:
    tasks: dict[str, dict[str, str]] = _ask(f"{url}/api/tasks")
    return [name for name, task in tasks.items() if task["state"] == "SUCCESS"]


def _ask(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return json.load(answer)
    except OSError:  # not there yet
        return {}


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"not so after {WAIT_S:g} s")
        time.sleep(0.1)


PICTURES: Final[dict[str, Callable[[], AbstractContextManager[Shot]]]] = {
    "report": report,
    "flower": flower,
}


def take(shot: Shot, target: Path) -> None:
    """Take one picture."""
    address, width, height = shot
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit(f"no browser found: install one of {', '.join(_BROWSERS)}")
    subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            "--virtual-time-budget=4000",  # of the pages' own scripts
            f"--screenshot={target}",
            f"--window-size={width},{height}",
            address,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def main() -> None:
    """Take the named pictures, or all."""
    for name in sys.argv[1:] or PICTURES:
        target = HERE / f"{name}.png"
        with PICTURES[name]() as shot:
            take(shot, target)
        sys.stdout.write(f"{target} ({target.stat().st_size / 1000:,.0f} kB)\n")


if __name__ == "__main__":
    main()
