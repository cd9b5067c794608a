"""The examination: this machine, the server, the fleet, the calls that it made."""

from __future__ import annotations

from promptyard.cli.doctor.finding import Finding
from promptyard.cli.doctor.fleet import examine_fleet
from promptyard.cli.doctor.machine import embedded, installed_checks, key, versions
from promptyard.cli.doctor.server import examine_server
from promptyard.cli.options import find_url
from promptyard.settings import Settings


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; finds what is wrong, raises nothing."""
    url = find_url(settings)
    findings = [*versions()]
    if url is None:
        findings += embedded(settings)
    else:
        server = examine_server(url)
        findings += server
        if all(finding.verdict != "fail" for finding in server if finding.subject == "redis"):
            findings += examine_fleet(url, settings)
    findings.append(key())
    findings += installed_checks(settings)
    return findings
