"""docker-compose.yml as Docker would read it, for as much of it as the file uses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
COMPOSE: Final = ROOT / "docker-compose.yml"
#: What the Dockerfile's worker stage sets.
ENTRYPOINT: Final = ("promptyard",)
IMAGE_HEALTHCHECK: Final = ("CMD", "promptyard", "healthcheck")

_VARIABLE: Final = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600}


def read_compose(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with its anchors and variables resolved; ``environ`` is the shell's."""
    return _interpolated(yaml.safe_load(COMPOSE.read_text()), environ or {})  # type: ignore[no-any-return]


def services(environ: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = read_compose(environ)["services"]
    return found


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether it runs our image."""
    return "build" in service


def bind_mounts(service: Mapping[str, Any]) -> dict[str, Path]:
    """Path in the container -> path here."""
    mounts = [volume.split(":") for volume in service.get("volumes", ())]
    return {mount[1]: ROOT / mount[0] for mount in mounts if mount[0].startswith(".")}


def seconds(duration: str) -> float:
    """``1m30s`` as a number."""
    return float(sum(int(n) * _UNITS_S[unit] for n, unit in re.findall(r"(\d+)([smh])", duration)))


def _interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(part, environ) for key, part in value.items()}
    if isinstance(value, list):
        return [_interpolated(part, environ) for part in value]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(
        lambda found: (environ.get(found[1]) or found[2] or "") if found[1] else "$", value
    )
