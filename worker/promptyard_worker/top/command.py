"""The command ``promptyard top``."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from promptyard.cli.options import RedisUrl, connect, find_url, read_settings, stdout_console
from promptyard.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from promptyard.producer import Producer
    from promptyard.store import Store

_EVERY_S: Final = 1.0

Once = Annotated[bool, typer.Option("--once", help="Print one frame and end.")]


def top(once: Once = False, redis_url: RedisUrl = None) -> None:
    """Watch queues, workers, quota, breakers and spending, every second; q or ctrl-C ends."""
    from promptyard.store import Store

    console = stdout_console()
    with connect(redis_url) as producer:
        url = find_url(read_settings(redis_url))
        with closing(Store(str(url))) as store:
            if once or not console.is_terminal:
                print_frame(producer, store, console)
            else:
                with suppress(KeyboardInterrupt):
                    watch(producer, store, console)


def print_frame(producer: Producer, store: Store, console: Console) -> None:
    """Print the yard as it is now.

    Raises:
        StoreError: Redis is away.
    """
    from promptyard_worker.top.frame import frame
    from promptyard_worker.top.look import take_look

    console.print(frame(take_look(producer, store), None, width=console.width))


def watch(producer: Producer, store: Store, console: Console) -> None:
    """Show the yard until somebody presses q.

    Raises:
        StoreError: Redis is away from the beginning; later it is waited for.
    """
    from rich.live import Live

    from promptyard_worker.top.frame import frame
    from promptyard_worker.top.keyboard import Keyboard
    from promptyard_worker.top.look import take_look
    from promptyard_worker.top.rates import Meter

    look, meter, remark = take_look(producer, store), Meter(), ""
    rates = meter.add(look)
    with (
        Keyboard() as keyboard,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            began_s = time.monotonic()
            width, height = console.size
            live.update(frame(look, rates, width=width, height=height, remark=remark), refresh=True)
            if keyboard.wait_for_quit(_EVERY_S - (time.monotonic() - began_s)):
                return
            try:
                look, remark = take_look(producer, store), ""
                rates = meter.add(look)
            except StoreError as error:
                remark = f"as it was; {error}"
