"""The quality knob: which operating point of a fitted router a policy asks for."""

from __future__ import annotations

from promptyard.errors import RouterFileError
from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.curve import NEVER, OperatingPoint, choose
from promptyard_worker.routing.learned.model import FittedRouter, encoder_identity
from promptyard_worker.routing.stages import LearnedConfig


def point_of(fitted: FittedRouter, config: LearnedConfig) -> OperatingPoint | None:
    """The point that the knob asks for; None without a knob.

    Raises:
        RouterFileError: the fitted router cannot give what is asked.
    """
    if config.quality is None and config.max_cost_per_1k is None:
        return None
    return choose(fitted.points, quality=config.quality, max_cost_per_1k=config.max_cost_per_1k)


def bars_of(fitted: FittedRouter, config: LearnedConfig) -> tuple[float, ...]:
    """The bars that the knob asks for; the file's own without one.

    Raises:
        RouterFileError: the fitted router cannot give what is asked.
    """
    point = point_of(fitted, config)
    return fitted.bars if point is None else point.bars


def knob_line(config: RouterConfig) -> str | None:
    """What the knob is set to, and what that costs and gains; None without a knob.

    Raises:
        RouterFileError: the fitted file cannot be used with this policy.
    """
    learned = config.learned
    if learned is None:
        return None
    fitted = FittedRouter.load(learned.file)
    _refuse_other_encoder(fitted, config)
    point = point_of(fitted, learned)
    if point is None:
        return None
    if learned.quality is not None:
        asked = f"quality {learned.quality:g}"
    else:
        asked = f"max_cost_per_1k {learned.max_cost_per_1k:g}"
    dearest = fitted.points[-1]
    bars = ", ".join(
        f"{arm} never" if bar >= NEVER else f"{arm} from {bar:.2f}"
        for arm, bar in zip(fitted.arms, point.bars, strict=False)
    )
    return (
        f"{asked}: keeps {100 * point.quality:.1f} % of {fitted.arms[-1]}'s quality at "
        f"${point.cost_usd_per_1k:.4g} per 1,000 prompts, against ${dearest.cost_usd_per_1k:.4g} "
        f"at the dear end, on the prompts that were fitted on; bars: {bars}"
    )


def _refuse_other_encoder(fitted: FittedRouter, config: RouterConfig) -> None:
    """As far as can be told without opening the encoder: all but the length of its vectors."""
    lengths = [int(part) for part in fitted.encoder.split(":") if part.isdigit()]
    if not any(encoder_identity(config.encoder, n) == fitted.encoder for n in lengths):
        raise RouterFileError(
            f"learned.file: was fitted with the encoder {fitted.encoder}, and encoder: is "
            f"{config.encoder.type}. Fit it again: promptyard fit."
        )
