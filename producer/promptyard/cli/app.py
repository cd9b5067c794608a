"""The ``promptyard`` command: its group, its errors, and the commands other packages add."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from promptyard import __version__
from promptyard.cli import commands
from promptyard.errors import PromptyardError, StackError
from promptyard.secret_files import read_secret_files

#: Entry points of functions that are given the app, to add their commands to it.
GROUP: Final = "promptyard.commands"


class _Group(TyperGroup):
    """Says every error of ours in one line, and gives its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            read_secret_files(os.environ)
            return super().invoke(ctx)
        except PromptyardError as error:
            typer.echo(f"promptyard: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except ModuleNotFoundError as error:
            # the worker's commands are there in every installation, what they need is not
            typer.echo(
                f"promptyard: {error.name} is not installed, and this command needs it: "
                "pip install 'promptyard[worker]'.",
                err=True,
            )
            raise typer.Exit(StackError.exit_code) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    _version: Annotated[  # its callback does the work
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Route prompts to the model tier that is good enough, and lose none."""


def build_app() -> typer.Typer:
    """The app, with the commands of every installed package."""
    app = typer.Typer(
        name="promptyard",
        cls=_Group,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,  # they would print prompts and keys with the locals
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    commands.register(app)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        entry.load()(app)
    return app


def main() -> None:
    """Entry point of the ``promptyard`` script."""
    build_app()(prog_name="promptyard")
