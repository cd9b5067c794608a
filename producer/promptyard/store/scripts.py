"""The Lua scripts: read once, known by their SHA-1."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Script:
    """A server-side script; ``text`` is the shared library plus the script's own file."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Load ``lua/<name>.lua``."""
    folder = files("promptyard.store") / "lua"
    text = (folder / "lib.lua").read_text() + "\n" + (folder / f"{name}.lua").read_text()
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
