"""The quality knob over the fitted router that comes with Promptyard."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptyard.errors import RouterFileError
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.file import load_router, packaged_router_file
from promptyard_worker.routing.learned.knob import bars_of, knob_line
from promptyard_worker.routing.learned.model import FittedRouter
from promptyard_worker.routing.stages import EncoderConfig, LearnedConfig, packaged_fitted_file

FITTED = FittedRouter.load(packaged_fitted_file())


def policy(learned: LearnedConfig | None, encoder: EncoderConfig | None = None) -> RouterConfig:
    """The shipped policy with another knob or encoder."""
    config = load_router(packaged_router_file())
    update = {"learned": learned, "encoder": encoder or config.encoder}
    return config.model_copy(update=update)


def test_without_a_knob_there_is_no_line_and_the_bars_are_the_files() -> None:
    """Nor where nothing was fitted."""
    assert knob_line(policy(LearnedConfig())) is None
    assert knob_line(policy(None)) is None
    assert bars_of(FITTED, LearnedConfig()) == FITTED.bars


def test_the_line_says_what_quality_costs_and_gains() -> None:
    """By the operating point that is chosen."""
    line = knob_line(policy(LearnedConfig(quality=0.95)))
    assert line is not None
    assert line.startswith("quality 0.95: keeps 9")
    assert "of pro's quality at $" in line
    assert "bars: lite " in line
    assert "flash from 0." in line


def test_more_quality_costs_more_and_bars_rise() -> None:
    """The dearest arm takes more."""
    low, high = (bars_of(FITTED, LearnedConfig(quality=quality)) for quality in (0.85, 0.97))
    assert all(above >= below for above, below in zip(high, low, strict=True))
    assert high != low


def test_the_other_end_of_the_knob_is_a_price() -> None:
    """The best quality for the money."""
    line = knob_line(policy(LearnedConfig(max_cost_per_1k=5)))
    assert line is not None
    assert line.startswith("max_cost_per_1k 5: keeps ")


def test_what_cannot_be_had_is_refused_with_the_range() -> None:
    """Nothing is silently cheaper or dearer."""
    with pytest.raises(RouterFileError, match="allow at least"):
        knob_line(policy(LearnedConfig(max_cost_per_1k=0.0001)))


def test_a_file_of_another_encoder_is_refused(tmp_path: Path) -> None:
    """Its weights would meet other vectors."""
    with pytest.raises(RouterFileError, match=r"static::256, and encoder: is gemini"):
        knob_line(policy(LearnedConfig(), EncoderConfig(type="gemini")))
