"""Takes the pictures of the documentation, in headless Chromium (Debian: `apt install chromium`).

    python docs/screenshots/make.py [NAME...]

Without a name it takes all of them. Each is a function here that makes a page and gives its
address and the size of the window.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
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


PICTURES: Final[dict[str, Callable[[], AbstractContextManager[Shot]]]] = {"report": report}


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
