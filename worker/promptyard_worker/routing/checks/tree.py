"""Ways through the tree of routes, with the key paths of what is met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from promptyard.names import Tier
from promptyard_worker.routing.config import SEPARATOR, RouteConfig, RouterConfig
from promptyard_worker.routing.schema import KeyPath


@dataclass(frozen=True)
class Placed:
    """A route, its place in the file and its address."""

    path: KeyPath
    address: str
    route: RouteConfig

    def is_above(self, other: Placed) -> bool:
        """Whether it holds the other, or is it."""
        return other.path[: len(self.path)] == self.path


@dataclass(frozen=True)
class PlacedFork:
    """Routes to choose among; the path is that of their list."""

    path: KeyPath
    routes: tuple[Placed, ...]


def forks_of(config: RouterConfig) -> Iterator[PlacedFork]:
    """The root, then every route with sub-routes."""
    yield from _forks(("routes",), "", config.routes)


def routes_of(config: RouterConfig) -> Iterator[Placed]:
    """Every route and sub-route, in the file's order."""
    for fork in forks_of(config):
        yield from fork.routes


def leaves_of(config: RouterConfig) -> Iterator[Placed]:
    """Every route that has a model."""
    return (placed for placed in routes_of(config) if not placed.route.routes)


def served_tiers(config: RouterConfig) -> list[Tier]:
    """Tiers with a route or a model."""
    here = {placed.route.tier for placed in leaves_of(config)}
    here |= {model.tier for model in config.models.values()}
    return [tier for tier in Tier if tier in here]


def _forks(path: KeyPath, prefix: str, routes: tuple[RouteConfig, ...]) -> Iterator[PlacedFork]:
    placed = tuple(
        Placed((*path, i), f"{prefix}{route.name}", route) for i, route in enumerate(routes)
    )
    yield PlacedFork(path, placed)
    for one in placed:
        if one.route.routes:
            yield from _forks((*one.path, "routes"), f"{one.address}{SEPARATOR}", one.route.routes)
