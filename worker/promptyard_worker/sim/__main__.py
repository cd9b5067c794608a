"""``python -m promptyard_worker.sim``: the command without the rest of the command line."""

from __future__ import annotations

import sys

import typer

from promptyard.errors import PromptyardError
from promptyard_worker.sim.command import sim


def main() -> None:
    """Run ``sim``; an error of ours is one line and an exit code."""
    try:
        typer.run(sim)
    except PromptyardError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
