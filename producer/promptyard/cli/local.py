"""How the command line gets a local stack without knowing the worker package.

Whoever can run one says so by the entry-point group ``promptyard.stack``; the worker package
does. The object is called with keyword arguments and gives a ``LocalStack``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from typing import Final, Protocol, cast

from promptyard.errors import StackError
from promptyard.interrupts import Interrupts
from promptyard.settings import Settings

GROUP: Final = "promptyard.stack"


class LocalStack(Protocol):
    """Valkey, stand-in and workers on this machine."""

    @property
    def url(self) -> str:
        """Redis URL, once started."""

    @property
    def simulated(self) -> bool:
        """Whether the stand-in answers, once started."""

    def start(self) -> None:
        """Start everything and wait until it is ready."""

    def check(self) -> None:
        """Raise StackError if a part of it is down for good."""

    def stop(self) -> None:
        """Stop everything; nothing happens if nothing runs."""


class StackFactory(Protocol):
    """Makes a stack that is not yet started."""

    def __call__(self, settings: Settings, *, signals: Callable[[], int]) -> LocalStack:
        """Make it.

        Args:
            settings: where its home is, and Redis if it has one already.
            signals: how many times someone has asked us to end; looked at while waiting.
        """


def find_stack() -> StackFactory:
    """The factory of local stacks that is installed.

    Raises:
        StackError: none is.
    """
    for entry in entry_points(group=GROUP):
        # the module is there in every installation, what it needs may not be
        with suppress(ModuleNotFoundError):
            return cast("StackFactory", entry.load())
    raise StackError(
        "REDIS_URL is not set and this installation cannot start a stack of its own: "
        "pip install 'promptyard[worker]', or set REDIS_URL to a running stack."
    )


@contextmanager
def running(stack: LocalStack, interrupts: Interrupts) -> Iterator[None]:
    """Start a stack, and stop it whatever happens.

    Raises:
        Stopped: a signal came while it started.
        StackError: it did not start.
    """
    try:
        with interrupts.shield():
            stack.start()
        yield
    finally:
        with interrupts.shield():
            stack.stop()
