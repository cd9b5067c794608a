"""Small policies whose models the stand-in serves; what they decide, a test can foresee."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from promptyard_worker.routing import load_router
from tests.process.conftest import ROOT
from tests.router_files import put

PRO: Final = "Prove that every finite integral domain is a field."
FLASH: Final = "Write a friendly letter to a neighbour about the noise."
LITE: Final = "Translate the word bread into Spanish."
#: A route a tier, each with one utterance.
ROUTES: Final = [
    {"name": "pro", "tier": "pro", "model": "gemini-2.5-pro", "utterances": [PRO]},
    {"name": "flash", "tier": "flash", "model": "gemini-2.5-flash", "utterances": [FLASH]},
    {"name": "lite", "tier": "lite", "model": "gemini-2.5-flash-lite", "utterances": [LITE]},
]
MODELS: Final[dict[str, Any]] = yaml.safe_load((ROOT / "router.yaml").read_text())["models"]
ALL_TO_FLASH: Final = [{"name": "all", "when": {"text": True}, "tier": "flash"}]


def write_policy(path: Path, **keys: Any) -> str:
    """A router file with these keys beside the usual ones; gives its version."""
    policy = {"version": 1, "default": "lite", "routes": ROUTES, "models": MODELS, **keys}
    put(path, yaml.safe_dump(policy))
    return load_router(path).policy_version
