"""A good router file, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptyard.errors import RouterFileError
from promptyard_worker.routing import load_router

GOOD = """\
version: 1
default: flash
routes:
  - name: hard
    tier: pro
    model: big
    fallback: [mid]
    utterances:
      - Prove it.
      - Solve it.
  - name: chat
    tier: flash
    model: mid
    utterances: [Hello.]
models:
  big:
    tier: pro
    price: {input: 1, output: 2, cached_input: 0.1}
    context_window: 1000
    timeout_s: 5
  mid:
    tier: flash
    price:
      input: 1
      output: 2
    context_window: 1000
    timeout_s: 5
"""


def put(path: Path, text: str) -> Path:
    """Write a file that others watch; at no moment is there half of it."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    return draft.replace(path)


def written(folder: Path, text: str) -> Path:
    """A router file with this text."""
    path = folder / "router.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    """What load_router says, without the folder."""
    with pytest.raises(RouterFileError) as caught:
        load_router(written(folder, text))
    return str(caught.value).replace(f"{folder}/", "")
