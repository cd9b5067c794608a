"""The line on other servers: one with a password, one with TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from celery.result import AsyncResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from promptyard import AsyncProducer
from promptyard.embedded import find_program
from promptyard.job import Job
from promptyard.names import QUEUES, Tier
from promptyard_worker.celery_app import create_app
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import Yard
from tests.servers import free_port, serving
from tests.web import get, get_json, scrape

pytestmark = pytest.mark.process

PASSWORD = "p4ss:w/rd"
QUOTED = "p4ss%3Aw%2Frd"


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "server.crt", folder / "server.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def run_the_line(folder: Path, url: str, sim: SimServer) -> None:
    """Classify and call through it, and read a result through Celery."""
    yard = Yard(folder, url, sim)
    try:
        yard.start()
        results = yard.run([*(f"prompt {n}" for n in range(20)), Job(contents="x", tier=Tier.LITE)])
        assert all(result.ok for result in results.values())
        app = create_app(url)
        assert AsyncResult(next(iter(results)), app=app).state == "SUCCESS"
        app.close()
        asyncio.run(asked_by_awaiting(url))
        told_by_commands(yard)
        shown_by_servers(yard)
        yard.check_invariants()
        assert PASSWORD not in yard.log_text()
        assert QUOTED not in yard.log_text()
    finally:
        yard.close()


async def asked_by_awaiting(url: str) -> None:
    """The other face takes the same URL."""
    async with AsyncProducer(url) as producer:
        job_id = await producer.submit(Job(contents="y", tier=Tier.LITE))
        assert (await producer.result(job_id, timeout=20)).ok


def told_by_commands(yard: Yard) -> None:
    """And so does the command line, which shows no password."""
    (yard.folder / "in.jsonl").write_text('{"prompt": "z"}')
    for words in (["run", "in.jsonl", "-o", "out.jsonl"], ["status"], ["doctor"]):
        ran = subprocess.run(
            [sys.executable, "-m", "promptyard", *words],
            env=yard.environ,
            cwd=yard.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert PASSWORD not in ran.stdout + ran.stderr
    assert json.loads((yard.folder / "out.jsonl").read_text())["status"] == "succeeded"


def shown_by_servers(yard: Yard) -> None:
    """And exporter and Flower; Flower asks Redis itself for the queues."""
    ports = {name: str(free_port()) for name in ("exporter", "flower")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    for name, port in ports.items():
        yard.beside(name, "--port", port, FLOWER_BASIC_AUTH="team:pass")
    wait_until(lambda: get(f"{urls['exporter']}/metrics")[0] == 200, description="metrics")
    wait_until(lambda: get(f"{urls['flower']}/healthcheck")[0] == 200, description="Flower")
    assert scrape(f"{urls['exporter']}/metrics")["promptyard_up",] == 1
    found = get_json(f"{urls['flower']}/api/queues/length", user="team:pass")["active_queues"]
    assert {queue["name"]: queue["messages"] for queue in found} == dict.fromkeys(QUEUES, 0)


def test_the_line_runs_behind_a_password(tmp_path: Path, sim: SimServer) -> None:
    """The password has characters that a URL must quote; no log shows it."""
    port = free_port()
    url = f"redis://:{QUOTED}@127.0.0.1:{port}/0"
    options = {"port": str(port), "requirepass": PASSWORD}
    with serving(str(find_program()), url, tmp_path, options):
        run_the_line(tmp_path, url, sim)


def test_the_line_runs_over_tls(tmp_path: Path, sim: SimServer) -> None:
    """rediss:// with certificates of our own for server and client, and a password."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server on the PATH; the embedded Valkey is built without TLS")
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    files = f"ssl_ca_certs={certificate}&ssl_certfile={certificate}&ssl_keyfile={key}"
    url = f"rediss://:{QUOTED}@127.0.0.1:{port}/0?{files}"
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "yes",
        "requirepass": PASSWORD,
    }
    with serving(program, url, tmp_path, options):
        run_the_line(tmp_path, url, sim)
