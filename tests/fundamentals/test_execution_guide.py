"""docs/execution.md: its YAML loads, names every key, and shows the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel

from promptyard.job import ErrorType
from promptyard_worker.routing.execution import BreakerConfig, QuotaConfig, RetryConfig

ROOT: Final = Path(__file__).resolve().parents[2]
GUIDE: Final = (ROOT / "docs" / "execution.md").read_text()


def blocks() -> dict[str, Any]:
    """The YAML of the guide, by its only key."""
    found = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    return {name: value for text in found for name, value in yaml.safe_load(text).items()}


@pytest.mark.parametrize(("name", "schema"), [("retry", RetryConfig), ("breaker", BreakerConfig)])
def test_the_examples_are_the_defaults(name: str, schema: type[BaseModel]) -> None:
    """Every key, every value."""
    shown = blocks()[name]
    assert set(shown) == set(schema.model_fields)
    assert schema.model_validate(shown) == schema()


def test_the_quota_example_has_every_key() -> None:
    """And loads."""
    (model,) = blocks()["models"].values()
    assert set(model["quota"]) == set(QuotaConfig.model_fields)
    assert QuotaConfig.model_validate(model["quota"]).safety == QuotaConfig().safety


def test_the_error_types_it_names_are_ours() -> None:
    """A renamed type would leave the table behind."""
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`\)", GUIDE)) | {"poison", "model_unavailable"}
    assert named <= {str(kind) for kind in ErrorType}
