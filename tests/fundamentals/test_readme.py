"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.process.conftest import ROOT, Yard

pytestmark = pytest.mark.process

README_URL = "redis://localhost:6379/0"


def python_blocks() -> list[str]:
    """Every Python block of the README."""
    text = (ROOT / "README.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_web_backend_works(yard: Yard) -> None:
    """Ten lines: submit for later, read the summary; the same order again is the same job."""
    (block,) = python_blocks()
    assert README_URL in block
    page: dict[str, Any] = {}
    exec(compile(block.replace(README_URL, yard.url), "README.md", "exec"), page)
    try:
        text = "The harbour was quiet. Two boats came in. Nobody was hurt."
        job_id = page["summarise_later"](text, "order-1")
        assert "[simulated]" in page["summary"](job_id)
        assert page["summarise_later"](text, "order-1") == job_id
        assert yard.calls(f"Summarise:\n{text}") == 1
    finally:
        page["yard"].close()
