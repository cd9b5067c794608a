"""Writes a router file of semantic-router 0.x in our format.

The file says in comments what was decided; it loads without a problem and routes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from promptyard_worker.routing.legacy import LegacyRoute, Translation
from promptyard_worker.routing.problems import render

_WIDTH: Final = 1_000_000  # no text is folded
_HEAD: Final = """\
# The routing policy of Promptyard, written by `promptyard router migrate` from
# {name}, a file of semantic-router 0.x. Check it with `promptyard router check`.
"""
_DEFAULT: Final = """
# The tier of prompts that no route takes. The old file named none; {default} was chosen:
# {why}.
"""
_SEMANTIC: Final = """
# A route's score is the mean similarity of its `top_k` utterances that are nearest to the
# prompt. (0.x took the `top_k` nearest of all routes together.)
"""
_MODELS: Final = """
# Prices are USD per million tokens. Prices, windows and timeouts are those that Promptyard
# knows; the old file had none. A tier is the queue that calls a model: it was read off the
# model's name.
"""
_ROUTES: Final = """
# A route falls back to the models of the routes after it. Where the `score_threshold` was
# 0.0 or null, that is no bar, there is no `threshold`.
"""


def migrated(translation: Translation, *, name: str) -> str:
    """Our file, as text.

    Args:
        translation: without problems.
        name: of the old file.
    """
    data = translation.data
    why = "a route has it" if data["default"] == "flash" else "it costs least"
    parts = [
        _HEAD.format(name=name),
        "version: 1\n",
        *_left_out(translation),
        f"\n# Was `encoder_type: {translation.legacy.encoder_type}`.\n",
        _block({"encoder": data["encoder"]}),
        _SEMANTIC,
        _block({"semantic": {"top_k": 5, "aggregation": "mean"}}),
        _DEFAULT.format(default=data["default"], why=why),
        _block({"default": data["default"]}),
        _MODELS,
        _block({"models": data["models"]}),
        _ROUTES,
        "routes:\n",
        *map(_route, data["routes"], translation.legacy.routes),
    ]
    return "".join(parts)


def _left_out(translation: Translation) -> Iterator[str]:
    """What was in the old file and is not in ours."""
    remarks = [remark for remark in translation.remarks if remark.path]
    if remarks:
        yield "\n# Not taken over:\n"
    for remark in remarks:
        yield f"#   {render(remark.path)}: {remark.what}\n"


def _route(route: Mapping[str, Any], legacy: LegacyRoute) -> str:
    """One route, its utterances one a line, its metadata as comments."""
    facts = {key: route[key] for key in route if key != "utterances" and route[key] != ""}
    metadata = [f"# {line}" for line in _block(legacy.metadata or {}).splitlines()]
    utterances = [f"  - {_text(utterance)}" for utterance in route["utterances"]]
    lines = [*_block(facts).splitlines(), *metadata, "utterances:", *utterances]
    return "".join(
        f"{'    ' if i else '  - '}{line}".rstrip() + "\n" for i, line in enumerate(lines)
    )


def _block(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=_WIDTH)


def _text(text: str) -> str:
    """A text in quotes, whatever it holds."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=_WIDTH).strip()
