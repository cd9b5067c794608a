"""The command line: ``promptyard ...``; docs/cli.md lists commands and exit codes."""

from promptyard.cli.app import main

__all__ = ["main"]
