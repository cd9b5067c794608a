"""docker-compose.yml and the Dockerfile, as far as they can be read; test_compose.py runs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from tests.compose_file import COMPOSE, ROOT, bind_mounts, is_ours, read_compose, seconds, services

SCHEMA: Final = ROOT / "tests" / "fixtures" / "compose-spec.json"
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
SERVICES: Final = services()
NAMES: Final = sorted(SERVICES)
OURS: Final = sorted(name for name, service in SERVICES.items() if is_ours(service))


def test_the_file_meets_the_specification() -> None:
    """As plain YAML and with its variables filled in; and the schema does tell what is wrong."""
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    for document in (yaml.safe_load(COMPOSE.read_text()), read_compose()):
        assert [error.message for error in validator.iter_errors(document)] == []
    wrong = {"services": {"redis": {"image": "redis", "depend_on": ["sim"]}}}
    assert not validator.is_valid(wrong)


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker here")
def test_docker_reads_it() -> None:
    """Docker's own reader, where its plugin is there."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker has no compose plugin here")
    said = subprocess.run(
        ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"],
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("name", NAMES)
def test_what_a_service_mounts_is_there(name: str) -> None:
    """A path that is missing would become an empty folder."""
    for path in bind_mounts(SERVICES[name]).values():
        assert path.exists(), path


@pytest.mark.parametrize("name", NAMES)
def test_no_service_is_open_to_others(name: str) -> None:
    """Ports of this machine only; secrets are files that the file declares; nothing is root's."""
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert set(service.get("secrets", ())) <= read_compose()["secrets"].keys()
    assert not service.get("privileged")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", NAMES)
def test_every_service_comes_back_and_is_bounded(name: str) -> None:
    """It is started again, has a limit of memory, and its log one of size."""
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", [name for name in OURS if "worker" in SERVICES[name]["command"]])
def test_a_worker_may_drain_before_it_is_killed(name: str) -> None:
    """--drain, and 20 s to write what is left."""
    words: list[str] = SERVICES[name]["command"]
    drain_s = float(words[words.index("--drain") + 1])
    assert seconds(SERVICES[name]["stop_grace_period"]) >= drain_s + 20


def test_only_who_calls_models_has_the_key() -> None:
    """Not the exporter, not Flower."""
    holders = {name for name in NAMES if "gemini_api_key" in SERVICES[name].get("secrets", ())}
    assert holders == {"classify", "pro", "flash", "lite"}


def test_prometheus_asks_every_service_that_answers() -> None:
    """Each worker at the port of its environment, the exporter at the one of its command."""
    found = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs: dict[str, Any] = {one["job_name"]: one for one in found["scrape_configs"]}
    (workers,) = jobs["promptyard-worker"]["dns_sd_configs"]
    for name in workers["names"]:
        assert SERVICES[name]["environment"]["PROMPTYARD_METRICS_PORT"] == str(workers["port"])
    for name in ("exporter", "flower"):
        (target,) = jobs[f"promptyard-{name}"]["static_configs"][0]["targets"]
        port = SERVICES[name]["command"][SERVICES[name]["command"].index("--port") + 1]
        assert target == f"{name}:{port}"


def stages() -> dict[str, list[str]]:
    """The Dockerfile's instructions by stage, lines joined; a stage has those of its base first."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in re.sub(r"\s*\\\n\s*", " ", DOCKERFILE).splitlines():
        if begin := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = begin[2]
            found[name] = [line, *found.get(begin[1], [])]
        elif name and line and not line.startswith("#"):
            found[name].append(line)
    return found


@pytest.mark.parametrize("target", ["producer", "worker"])
def test_what_runs_is_not_root_and_builds_nothing(target: str) -> None:
    """No pip, no install after the base; a user of its own, and the command of the image."""
    lines = stages()[target]
    runs = [line for line in lines if line.startswith("RUN")]
    assert runs == [
        "RUN python -m pip uninstall --yes --quiet --root-user-action ignore pip "
        "&& useradd --create-home --uid 10001 yard"
    ]
    assert lines.index("USER 10001") < lines.index('ENTRYPOINT ["promptyard"]')
    assert [line for line in lines if line.startswith("COPY")] == [
        f"COPY --from=build-{target} /opt/promptyard /opt/promptyard"
    ]


def test_images_have_the_versions_that_were_tested() -> None:
    """Every install is held to constraints.txt; the Python is one that we support."""
    installs = re.findall(r"pip .*install.*", DOCKERFILE)
    installs = [line for line in installs if "uninstall" not in line]
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)
    (python,) = re.findall(r"ARG PYTHON=(.*)", DOCKERFILE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]


def test_the_build_gets_what_it_copies_and_no_secret() -> None:
    """.dockerignore lets in what the Dockerfile copies, all of which is there, and nothing else."""
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert "*" in ignored
    assert [path for path in copied if not (ROOT / path).exists()] == []
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    for path in packed["targets"]["wheel"]["force-include"]:
        assert path.split("/")[0] in copied
