"""docs/reference is what docs/generate.py makes of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import pytest

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"


def generated() -> dict[str, str]:
    """The pages as the code is now."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


@pytest.mark.parametrize(
    "name", ["commands.md", "settings.md", "router-file.md", "errors.md", "metrics.md"]
)
def test_the_reference_is_not_stale(name: str) -> None:
    """After a change: python docs/generate.py."""
    assert (DOCS / "reference" / name).read_text() == generated()[name]
