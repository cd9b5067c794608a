"""What routing needs from outside its room; it knows neither Redis nor the Gemini client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from promptyard.errors import RouterFileError

if TYPE_CHECKING:
    from google import genai


class Allowance(Protocol):
    """The judge's quota and purse, shared by all classify workers."""

    def ask(self, *, calls_per_minute: int, max_cost_usd_per_day: float | None) -> bool:
        """Take one call; False: not now (too many this minute, or the purse is empty)."""
        ...

    def spent(self, cost_usd: float) -> None:
        """Put what a call cost on today's bill."""
        ...


def no_client() -> genai.Client:
    """Where no Gemini client was given.

    Raises:
        RouterFileError: always.
    """
    raise RouterFileError(
        "The router file asks for Gemini (encoder or judge), but there is no client here: "
        "set GEMINI_API_KEY."
    )


@dataclass(frozen=True, slots=True)
class Services:
    """Hands that stages may borrow."""

    #: Opens a Gemini client whose own retries are off.
    gemini: Callable[[], genai.Client] = no_client
    #: None: the judge counts in this process alone.
    allowance: Allowance | None = None
    #: Where embeddings of utterances are kept between starts; None: nowhere.
    cache_folder: Path | None = None
