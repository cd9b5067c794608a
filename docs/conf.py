"""Sphinx reads the Markdown pages as they are: `make docs`."""

project = "Promptyard"
copyright = "2026, the Promptyard authors"  # noqa: A001 - Sphinx' name
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "Promptyard"
exclude_patterns = ["_build"]
