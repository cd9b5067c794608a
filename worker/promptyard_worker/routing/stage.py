"""What a stage is: it has opinions about prompts at a fork of the routes.

The root routes are the first fork; a route with sub-routes is another. A stage answers for
the prompts that the stages before it left open; an opinion without a pick leaves a prompt
open, but what was seen (scores, neighbours) stays on the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from promptyard.job import Neighbour
from promptyard.names import Tier
from promptyard_worker.routing.config import SEPARATOR, RouteConfig
from promptyard_worker.routing.reading import Reading, pieces_of

if TYPE_CHECKING:
    from promptyard_worker.routing.pieces import Pieces

Vectors = NDArray[np.float32]

#: Utterances that go on record with a decision.
NEAREST: Final = 3


@dataclass(frozen=True)
class Fork:
    """Routes to choose among."""

    #: Address of the route that holds them; empty at the root.
    address: str
    routes: tuple[RouteConfig, ...]

    def address_of(self, name: str) -> str:
        """The address of one of the routes."""
        return f"{self.address}{SEPARATOR}{name}" if self.address else name


def forks_of(routes: tuple[RouteConfig, ...], address: str = "") -> Iterator[Fork]:
    """The fork of some routes and every one behind it, the first first."""
    fork = Fork(address, routes)
    yield fork
    for route in routes:
        if route.routes:
            yield from forks_of(route.routes, fork.address_of(route.name))


@dataclass(frozen=True, slots=True)
class Destination:
    """A place named outright, as a rule does: a route, a tier or a model."""

    route: str | None = None
    tier: Tier | None = None
    model: str | None = None
    thinking_budget: int | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a stage thinks of one prompt."""

    #: Name of the chosen route of the fork; None: not sure.
    pick: str | None = None
    #: Chosen without looking at the fork.
    destination: Destination | None = None
    #: By name of the fork's routes.
    scores: Mapping[str, float] = field(default_factory=dict)
    probabilities: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    difficulty: float | None = None
    nearest: tuple[Neighbour, ...] = ()
    rule: str | None = None
    reason: str | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the prompt is decided."""
        return self.pick is not None or self.destination is not None


class Embedder(Protocol):
    """Turns readings into rows of length 1 (zero: the encoder knows nothing of it)."""

    def embed(self, readings: Sequence[Reading]) -> Vectors:
        """One row a reading."""
        ...


class Chunk:
    """Jobs that are routed together; each is embedded once, when a stage first asks."""

    def __init__(
        self, readings: Sequence[Reading], embedder: Embedder, *, nearest: int = NEAREST
    ) -> None:
        """Take what shall be routed.

        Args:
            readings: the jobs.
            embedder: turns them into vectors.
            nearest: how many of the nearest utterances a stage shall tell of.
        """
        self.nearest = nearest
        self._shelf = _Shelf(tuple(readings), embedder)
        self._rows = list(range(len(readings)))
        self._whole: Chunk | None = None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def whole(self) -> Chunk:
        """The chunk as it came; this is a part of it, or all."""
        return self if self._whole is None else self._whole

    @property
    def readings(self) -> list[Reading]:
        """The jobs, as the stages see them."""
        return [self._shelf.readings[row] for row in self._rows]

    @property
    def vectors(self) -> Vectors:
        """One row a reading."""
        return self._shelf.vectors(self._rows)

    @property
    def pieces(self) -> list[Pieces]:
        """The word pieces of each request."""
        return pieces_of(self.readings)

    def part(self, rows: Sequence[int]) -> Chunk:
        """Some of the jobs; what is embedded already is not embedded again."""
        part = copy(self)
        part._rows = [self._rows[row] for row in rows]
        part._whole = self.whole
        return part


class _Shelf:
    """The readings of a chunk and of its parts, with what was made of them so far."""

    def __init__(self, readings: tuple[Reading, ...], embedder: Embedder) -> None:
        self.readings = readings
        self._embedder = embedder
        self._vectors: dict[int, Vectors] = {}

    def vectors(self, rows: Sequence[int]) -> Vectors:
        missing = [row for row in rows if row not in self._vectors]
        if missing or not rows:
            fresh = self._embedder.embed([self.readings[row] for row in missing])
            self._vectors.update(zip(missing, fresh, strict=True))
            if len(missing) == len(rows):  # the usual case: no copying
                return fresh
        return np.stack([self._vectors[row] for row in rows])


class Stage(Protocol):
    """Decides what it is sure of."""

    #: As it stands in ``router.yaml`` and on the record.
    name: str

    def opinions(self, chunk: Chunk, fork: Fork) -> list[Opinion]:
        """One opinion a job of the chunk, in order."""
        ...
