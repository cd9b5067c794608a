"""Prometheus' own tools (Debian's `prometheus`), and what deploy/ has for it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

DEPLOY: Final = Path(__file__).resolve().parents[1] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboards" / "promptyard.json"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: Debian's `prometheus`"
)


def promtool(*words: str, text: bytes = b"") -> str:
    """What it says of them, which must be well."""
    said = subprocess.run(["promtool", *words], input=text, capture_output=True)
    told = (said.stdout + said.stderr).decode()
    assert said.returncode == 0, told
    return told


def alerts() -> list[dict[str, Any]]:
    """Every rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Every panel of the dashboard that shows something."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]
