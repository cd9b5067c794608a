"""The command ``promptyard sim``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from promptyard_worker.sim.config import EVERY_MODEL, SimConfig
from promptyard_worker.sim.server import serve

DEFAULT_PORT = 8787

Number = TypeVar("Number", int, float)

_PER_MODEL = "MODEL=N, or N for every model; may be repeated."


def sim(
    *,
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="Address to bind; others than loopback let others in.")
    ] = "127.0.0.1",
    latency_scale: Annotated[float, typer.Option(min=0, help="1 is real latency, 0 none.")] = 1.0,
    model: Annotated[
        list[str] | None, typer.Option(help="A model to serve, in place of the usual ones.")
    ] = None,
    rpm: Annotated[list[str] | None, typer.Option(help=f"Requests a minute: {_PER_MODEL}")] = None,
    tpm: Annotated[
        list[str] | None, typer.Option(help=f"Input tokens a minute: {_PER_MODEL}")
    ] = None,
    rpd: Annotated[list[str] | None, typer.Option(help=f"Requests a day: {_PER_MODEL}")] = None,
    max_concurrency: Annotated[
        list[str] | None, typer.Option(help=f"Calls at the same time: {_PER_MODEL}")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="FAULT=RATE, e.g. 503=0.1, hang=0.02; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other faults and latencies.")] = 0,
    api_key: Annotated[
        str | None, typer.Option(help="Refuse every other key.", envvar="PROMPTYARD_SIM_API_KEY")
    ] = None,
    access_log: Annotated[bool, typer.Option(help="One log line a call.")] = False,
) -> None:
    """Serve simulated Gemini models on this machine: no key, no cost, nothing leaves it."""
    settings = {
        "latency_scale": latency_scale,
        "rpm": parse_pairs(rpm, int, "--rpm"),
        "tpm": parse_pairs(tpm, int, "--tpm"),
        "rpd": parse_pairs(rpd, int, "--rpd"),
        "max_concurrency": parse_pairs(max_concurrency, int, "--max-concurrency"),
        "faults": parse_pairs(fault, float, "--fault", bare=False),
        "seed": seed,
        "api_key": api_key,
        "access_log": access_log,
    }
    if model:
        settings["models"] = tuple(model)
    try:
        config = SimConfig.model_validate(settings)
    except ValidationError as error:
        raise typer.BadParameter(describe_error(error)) from None
    if access_log:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    serve(config, host=host, port=port, ready=lambda bound: _announce(host, bound, config))


def parse_pairs(
    given: list[str] | None, kind: Callable[[str], Number], flag: str, *, bare: bool = True
) -> dict[str, Number]:
    """``["a=1", "b=2"]`` as a dict; with ``bare``, ``"3"`` stands for every model.

    Raises:
        typer.BadParameter: an entry has no number, or a name comes twice.
    """
    pairs: dict[str, Number] = {}
    for entry in given or ():
        name, equals, value = entry.rpartition("=")
        if not equals and bare:
            name = EVERY_MODEL
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not name:
            raise typer.BadParameter(f"{flag} {entry}: expected NAME=NUMBER")
        if name in pairs:
            raise typer.BadParameter(f"{flag} {entry}: {name} is given twice")
        pairs[name] = number
    return pairs


def describe_error(error: ValidationError) -> str:
    """What is wrong with the settings, one clause each, without pydantic's jargon."""
    clauses = []
    for detail in error.errors(include_url=False, include_context=False):
        where = " ".join(str(step) for step in detail["loc"] if step != "[key]")
        message = detail["msg"].removeprefix("Value error, ")
        clauses.append(f"{where}: {message}" if where else message)
    return "; ".join(clauses)


def _announce(host: str, port: int, config: SimConfig) -> None:
    """One line that can be pasted into a shell; the key itself only if it is not a secret."""
    shown = f"[{host}]" if ":" in host else host
    key = "simulated" if config.api_key is None else "<the --api-key>"
    url = f"http://{shown}:{port}"
    typer.echo(
        f"Stand-in for Gemini at {url} (simulated answers): "
        f"export GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY={key}"
    )
