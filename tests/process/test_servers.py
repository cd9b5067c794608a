"""The line on other servers: one with a password, one with TLS."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery.result import AsyncResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from promptyard.child import spawn
from promptyard.embedded import find_program
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.celery_app import create_app
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import Yard

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


def free_port() -> int:
    """A port nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(program: str, url: str, folder: Path, options: dict[str, str]) -> Iterator[None]:
    """A server with these options, once it answers at the URL."""
    options = {"bind": "127.0.0.1", "dir": str(folder), "save": "", **options}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    child = spawn("server", [program, *words], log=folder / "server.log")

    def answers() -> bool:
        assert child.poll() is None, child.tail()
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    try:
        with redis.Redis.from_url(url) as client:
            wait_until(answers, description=f"{program} answers")
        yield
    finally:
        child.stop(5)


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
        yard.check_invariants()
        assert PASSWORD not in yard.log_text()
        assert QUOTED not in yard.log_text()
    finally:
        yard.close()


def test_the_line_runs_behind_a_password(tmp_path: Path, sim: SimServer) -> None:
    """The password has characters that a URL must quote; no log shows it."""
    port = free_port()
    url = f"redis://:{QUOTED}@127.0.0.1:{port}/0"
    options = {"port": str(port), "requirepass": PASSWORD}
    with serving(str(find_program()), url, tmp_path, options):
        run_the_line(tmp_path, url, sim)


def test_the_line_runs_over_tls(tmp_path: Path, sim: SimServer) -> None:
    """rediss:// with a certificate of our own and a password."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no redis-server on the PATH; the embedded Valkey is built without TLS")
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    url = f"rediss://:{QUOTED}@127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-auth-clients": "no",
        "requirepass": PASSWORD,
    }
    with serving(program, url, tmp_path, options):
        run_the_line(tmp_path, url, sim)
