"""The fitted router: a few arrays that say how likely an arm is good enough for a prompt.

An arm is a tier or a model. A head is a calibrated logistic regression over the features
(``features.py``). From tier labels there is one head a tier, which says that the tier is the
cheapest good enough; together they make a distribution, and its sums from the cheap end are
the probabilities. From outcomes there is one head an arm, which says that the arm is good
enough by itself. The dearest arm has none: it takes what is left. What ``fit`` wrote is read
here and evaluated in numpy; scikit-learn is not needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from promptyard.errors import RouterFileError
from promptyard_worker.routing.curve import OperatingPoint
from promptyard_worker.routing.learned import features as feature_module
from promptyard_worker.routing.learned.features import BUCKETS, Features
from promptyard_worker.routing.stages import EncoderConfig

Floats = NDArray[np.float64]

#: Of the file.
FORMAT: Final = 1
#: Standardised features are cut here, so that no text is off the scale.
CLIP: Final = 5.0


class FitReport(BaseModel):
    """How a fitted router did on prompts that it had not seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: ``tier`` or ``scores``.
    labels: str
    prompts: int
    #: How the unseen prompts were chosen: ``source`` (whole sources) or ``prompt``.
    held_out_by: str
    measures: dict[str, float]


@dataclass(frozen=True, eq=False)
class Heads:
    """The weights; one column a head."""

    #: [BUCKETS, heads], int8 times ``gram_scale``.
    grams: NDArray[np.int8]
    gram_scale: NDArray[np.float32]
    #: [surface + embedding, heads], of standardised features.
    dense: NDArray[np.float32]
    mean: NDArray[np.float32]
    #: One over the standard deviation.
    inverse_deviation: NDArray[np.float32]
    intercept: NDArray[np.float32]
    #: Platt's map of the heads' sums: probability = sigmoid(slope * sum + offset).
    slope: NDArray[np.float32]
    offset: NDArray[np.float32]

    def sums(self, features: Features) -> Floats:
        """What the logistic functions are applied to, [n, heads]."""
        scaled = standardised(features, self.mean, self.inverse_deviation)
        sums = (scaled @ self.dense + self.intercept).astype(np.float64)
        grams = features.grams
        weights = self.grams.take(grams.columns, axis=0).astype(np.float32)
        bounds = np.searchsorted(grams.rows, np.arange(len(sums) + 1)).tolist()
        # row by row is quicker than to add up all of them by their rows
        votes = [grams.values[start:end] @ weights[start:end] for start, end in pairwise(bounds)]
        sums += np.reshape(votes, sums.shape) * self.gram_scale
        return np.asarray(sums)

    def probabilities(self, features: Features) -> Floats:
        """What each head says, calibrated, [n, heads]."""
        return sigmoid(self.slope * self.sums(features) + self.offset)


@dataclass(frozen=True, eq=False)
class FittedRouter:
    """What ``promptyard fit`` writes."""

    #: Cheapest first.
    arms: tuple[str, ...]
    #: Labels were tiers: an arm that is good enough makes every dearer one so.
    nested: bool
    #: The encoder whose embeddings were seen: ``encoder_identity``.
    encoder: str
    heads: Heads
    #: Bars without a knob, one an arm but the dearest.
    bars: tuple[float, ...]
    #: What the quality knob chooses among.
    points: tuple[OperatingPoint, ...]
    report: FitReport

    def probabilities(self, features: Features) -> Floats:
        """That each arm is good enough, [n, arms]; 1 for the dearest."""
        return good_enough(self.heads.probabilities(features), nested=self.nested)

    def save(self, path: Path) -> None:
        """Write the file; buckets without weight are left out."""
        used = np.flatnonzero(self.heads.grams.any(axis=1)).astype(np.uint32)
        about = {
            "format": FORMAT,
            "features": feature_module.VERSION,
            "arms": self.arms,
            "nested": self.nested,
            "encoder": self.encoder,
            "bars": self.bars,
            "points": [
                (point.bars, point.quality, point.cost_usd_per_1k, point.shares)
                for point in self.points
            ],
            "report": self.report.model_dump(),
        }
        arrays = {name: getattr(self.heads, name) for name in _ARRAYS}
        draft = path.with_name(f"{path.name}.part")  # a worker may watch the file
        with draft.open("wb") as file:
            np.savez_compressed(
                file,
                about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
                # differences are small numbers, which compress
                used=np.diff(used, prepend=np.uint32(0)).astype(np.uint32),
                grams=self.heads.grams[used],
                **arrays,
            )
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> FittedRouter:
        """Read a file.

        Raises:
            RouterFileError: it is not one, or this version cannot read it.
        """
        try:
            # opened here: numpy leaves a file it cannot read open
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                about: dict[str, Any] = json.loads(stored["about"].tobytes())
                _refuse_other_versions(path, about)
                grams = np.zeros((BUCKETS, stored["grams"].shape[1]), dtype=np.int8)
                grams[np.cumsum(stored["used"], dtype=np.int64)] = stored["grams"]
                heads = Heads(grams=grams, **{name: stored[name] for name in _ARRAYS})
            return cls(
                arms=tuple(about["arms"]),
                nested=about["nested"],
                encoder=about["encoder"],
                heads=heads,
                bars=tuple(about["bars"]),
                points=tuple(
                    OperatingPoint(tuple(bars), quality, cost, tuple(shares))
                    for bars, quality, cost, shares in about["points"]
                ),
                report=FitReport.model_validate(about["report"]),
            )
        except RouterFileError:
            raise
        except OSError as error:
            raise _unreadable(path, f"cannot be read: {error.strerror or error}") from error
        except Exception as error:  # a damaged file makes numpy raise this and that
            raise _unreadable(path, f"is no fitted router ({type(error).__name__})") from error


#: Arrays of ``Heads`` that are stored as they are.
_ARRAYS: Final = (
    "gram_scale",
    "dense",
    "mean",
    "inverse_deviation",
    "intercept",
    "slope",
    "offset",
)


def standardised(
    features: Features, mean: NDArray[np.float32], inverse_deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The dense features in deviations from the mean, cut at ``CLIP``."""
    scaled = (features.dense - mean) * inverse_deviation
    return np.asarray(np.clip(scaled, -CLIP, CLIP))


def sigmoid(sums: Floats) -> Floats:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-sums)))


def good_enough(found: Floats, *, nested: bool) -> Floats:
    """Probability that each arm is good enough, [n, arms]; 1 for the dearest.

    Args:
        found: what the heads say, [n, heads].
        nested: heads are the arms, each the cheapest good enough; else the arms but the
            dearest, each good enough by itself.
    """
    if nested:
        total = np.maximum(found.sum(axis=1, keepdims=True), 1e-12)
        found = np.cumsum(found / total, axis=1)[:, :-1]
    return np.hstack([found, np.ones((len(found), 1))])


def encoder_identity(encoder: EncoderConfig, dimensions: int) -> str:
    """Names what made an embedding, so that a fitted file is not used with another's.

    A table's folder counts by its name, for the file goes to other machines; options do not
    count, for there may be keys among them.
    """
    table = encoder.path.name if encoder.path is not None else None
    parts = (encoder.type, encoder.name or table or "", dimensions, encoder.task_type)
    return ":".join(str(part) for part in parts if part is not None)


def _unreadable(path: Path, what: str) -> RouterFileError:
    return RouterFileError(
        f"learned.file: {path} {what}. Write one: promptyard fit LABELLED.jsonl."
    )


def _refuse_other_versions(path: Path, about: dict[str, Any]) -> None:
    ours = (FORMAT, feature_module.VERSION)
    theirs = (about.get("format"), about.get("features"))
    if ours != theirs:
        raise RouterFileError(
            f"learned.file: {path} was written by another version of Promptyard (format and "
            f"features {theirs}, here {ours}). Fit it again: promptyard fit LABELLED.jsonl."
        )
