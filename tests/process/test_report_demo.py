"""The demo leaves a page beside its results, and names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def test_the_demo_leaves_a_report_and_names_it(tmp_path: Path) -> None:
    """In its last lines; the verdict stays the last line of stdout."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GEMINI", "GOOGLE", "REDIS", "PROMPTYARD"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "promptyard", "demo", "--quiet"],
        cwd=tmp_path,
        env=environ | {"PROMPTYARD_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "300 submitted, 300 finished, 0 lost"
    assert done.stderr.splitlines()[-1].startswith("report: report.html (")
    page = (tmp_path / "report.html").read_text()
    assert "300 answers simulated by the stand-in" in page
    assert 'class="note"' in page, "the example prompts are ours to show"
