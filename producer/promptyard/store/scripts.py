"""The Lua scripts: read once, known by their SHA-1."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

#: Scripts that bring new work in: a Redis that is full refuses them before their first write.
#: All others carry on what is in already, so they may go over ``maxmemory``: a job that cannot
#: be recorded as done would be paid again, and never leave (Redis 7 script flags,
#: https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags).
REFUSED_WHEN_FULL: Final = frozenset({"submit", "open_batch", "revive"})

_USES: Final = re.compile(r"^-- @use (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A server-side script; ``text`` is the libraries it uses plus the script's own file."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Load ``lua/<name>.lua`` behind ``lib.lua`` and the libraries its ``@use`` lines name."""
    own = _read(name)
    flags = "#!lua" if name in REFUSED_WHEN_FULL else "#!lua flags=allow-oom"
    text = "\n".join([flags, _read("lib"), *map(_read, _USES.findall(own)), own])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return (files("promptyard.store") / "lua" / f"{name}.lua").read_text()
