"""Dashboard and alert rules name metrics that are there, and promtool takes what deploy/ has.

tests/process/test_prometheus.py has a real Prometheus evaluate them.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Final

import yaml
from prometheus_client import Counter, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from promptyard_worker.observe import exporter
from promptyard_worker.observe.metrics import Metrics
from tests.monitoring import DEPLOY, RULES, alerts, needs_promtool, panels, promtool

GRAFANA: Final = DEPLOY / "grafana" / "provisioning"


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


def test_every_metric_of_the_alerts_is_exported() -> None:
    """A renamed metric would silence its alert."""
    found = named([rule["expr"] for rule in alerts()])
    assert found
    assert found <= exported()


def test_every_metric_of_the_dashboard_is_exported_and_every_exported_one_is_shown() -> None:
    """A renamed metric would leave its panel empty."""
    found = named([target["expr"] for panel in panels() for target in panel["targets"]])
    assert found <= exported()
    families = {family.name for family in Metrics().registry.collect()} | set(exporter.GAUGES)
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


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    """Its own parser of PromQL."""
    promtool("check", "rules", str(RULES))


@needs_promtool
def test_every_alert_rings_when_it_should_and_not_otherwise() -> None:
    """By the series of alerts_test.yml."""
    told = promtool("test", "rules", str(RULES.with_name("alerts_test.yml")))
    assert "SUCCESS" in told


def test_every_alert_is_tried() -> None:
    """Each rings in at least one case, and stays quiet in one."""
    tried = RULES.with_name("alerts_test.yml").read_text()
    for rule in alerts():
        assert rule["alert"] in tried, rule["alert"]
        assert f"name: {rule['alert'].removeprefix('Promptyard')}" in tried


def test_the_series_that_alerts_are_tried_on_are_like_real_ones() -> None:
    """An alert that rings for labels that nobody exports would be tried in vain."""
    labels = {name: {"instance", *about[1]} for name, about in exporter.GAUGES.items()}
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter):
            labels[f"{metric._name}_total"] = {"instance", *metric._labelnames}
    cases = yaml.safe_load(RULES.with_name("alerts_test.yml").read_text())["tests"]
    for series in (one["series"] for case in cases for one in case["input_series"]):
        name, _, given = series.partition("{")
        assert set(re.findall(r"(\w+)=", given)) <= labels[name], series


@needs_promtool
def test_prometheus_takes_its_configuration() -> None:
    """With the rules it names, beside it."""
    told = promtool("check", "config", str(RULES.with_name("prometheus.yml")))
    assert "1 rule files found" in told


@needs_promtool
def test_promtool_finds_no_fault_in_a_workers_metrics() -> None:
    """Names, units and types are as Prometheus' guide wants them."""
    metrics = Metrics()
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase) and metric._labelnames:
            metric.labels(*metric._labelnames)
    assert promtool("check", "metrics", text=generate_latest(metrics.registry)) == ""


def test_every_panel_has_what_a_reader_needs() -> None:
    """A title and an id of its own, a unit, a legend, and the data source that is provisioned."""
    provisioned = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yml").read_text())
    sources = {source["uid"] for source in provisioned["datasources"]}
    assert len({panel["id"] for panel in panels()}) == len(panels())
    assert len({panel["title"] for panel in panels()}) == len(panels())
    for panel in panels():
        assert "unit" in panel["fieldConfig"]["defaults"] or panel["type"] == "heatmap"
        assert {panel["datasource"]["uid"]} <= sources
        for target in panel["targets"]:
            assert target["legendFormat"]
            assert target["datasource"] == panel["datasource"]


def test_no_panel_lies_on_another() -> None:
    """Grafana's grid is 24 wide."""
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels()):
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(product(columns, range(place["y"], place["y"] + place["h"])))
        assert columns.stop <= 24
        assert not cells & taken
        taken |= cells


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    """$__rate_interval, over which the panels take their rates, is four times that."""
    source = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yml").read_text())
    config = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    (found,) = source["datasources"]
    assert found["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
