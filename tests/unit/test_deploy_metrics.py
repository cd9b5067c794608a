"""Dashboard and alert rules name only metrics that are there; promtool takes the rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from promptyard_worker.observe import exporter
from promptyard_worker.observe.metrics import Metrics

DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboards" / "promptyard.json"


def exported() -> set[str]:
    """Names of every series that workers and exporter have."""
    names = set(exporter.GAUGES)
    for family in Metrics().registry.collect():
        names |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
        names |= {f"{family.name}_sum", f"{family.name}_count"}
    return names


def named(expressions: list[str]) -> set[str]:
    """Metrics that PromQL expressions ask for."""
    return {name for text in expressions for name in re.findall(r"\bpromptyard_[a-z_]+", text)}


def alerts() -> list[dict[str, Any]]:
    """Every rule."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_metric_of_the_alerts_is_exported() -> None:
    """A renamed metric would silence its alert."""
    found = named([rule["expr"] for rule in alerts()])
    assert found
    assert found <= exported()


def test_every_metric_of_the_dashboard_is_exported_and_every_exported_one_is_shown() -> None:
    """A renamed metric would leave its panel empty."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = named([target["expr"] for panel in panels for target in panel["targets"]])
    assert found <= exported()
    families = {family.name for family in Metrics().registry.collect()}
    assert {name for name in families if not any(one.startswith(name) for one in found)} == set()


def test_every_alert_says_what_to_do() -> None:
    """Who is woken wants to know."""
    for rule in alerts():
        assert rule["annotations"]["action"], rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_is_explained() -> None:
    """docs/monitoring.md says what each means."""
    rows = (DEPLOY.parent / "docs" / "monitoring.md").read_text().splitlines()
    explained = {row.split("|")[1].strip() for row in rows if row.startswith("| ")}
    assert {rule["alert"].removeprefix("Promptyard") for rule in alerts()} <= explained


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: Debian's `prometheus`")
def test_promtool_takes_the_rules() -> None:
    """Its own parser of PromQL."""
    said = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout + said.stderr
