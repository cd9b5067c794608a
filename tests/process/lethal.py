"""An encoder that ends its process, or holds it up, as a native library can."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any, Final

from semantic_router.encoders.base import DenseEncoder

#: A text with it ends the process that embeds it.
LETHAL: Final = "lethal-4711"
#: A text with it is embedded once the gate is open.
SLOW: Final = "slow-4711"
#: The pipe that is the gate: closed while it is there and nobody writes to it.
GATE: Final = "gate"
#: What was to be embedded, a line a call.
SEEN: Final = "seen.jsonl"


class Encoder(DenseEncoder):
    """For ``encoder.type: tests.process.lethal:Encoder``."""

    name: str = "lethal"
    type: str = "lethal"
    folder: str

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """One row a text."""
        folder = Path(self.folder)
        with (folder / SEEN).open("a") as file:
            file.write(json.dumps(docs) + "\n")
        if any(LETHAL in text for text in docs):
            os.kill(os.getpid(), signal.SIGKILL)
        if any(SLOW in text for text in docs) and (folder / GATE).exists():
            (folder / GATE).read_bytes()
        return [[1.0, float(len(text))] for text in docs]


class Stage:
    """The test's side of the encoder: its gate, and what it has seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gate = folder / GATE

    @property
    def config(self) -> dict[str, Any]:
        """For ``encoder`` in the router file."""
        return {"type": f"{__name__}:Encoder", "options": {"folder": str(self._folder)}}

    def close_gate(self) -> None:
        """Hold up whoever embeds a slow text from now on."""
        os.mkfifo(self._gate)

    def take_gate_away(self) -> None:
        """Hold up nobody any more but those who stand before it."""
        self._gate.replace(self._gate.with_suffix(".old"))

    def let_pass(self) -> None:
        """Let those who stand before the gate go on."""
        old = self._gate.with_suffix(".old")
        os.close(os.open(old if old.exists() else self._gate, os.O_WRONLY | os.O_NONBLOCK))

    def seen(self, mark: str) -> list[list[str]]:
        """The texts of each call that had the mark in it."""
        path = self._folder / SEEN
        lines = path.read_text().splitlines() if path.exists() else []
        return [texts for texts in map(json.loads, lines) if any(mark in text for text in texts)]
