"""A worker imports the encoder that its policy names, and no vendor's SDK beside it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

#: SDKs that ``import semantic_router`` loads by itself.
VENDORS = ("openai", "mistralai", "voyageai", "cohere", "tiktoken")
PREPARED = "from promptyard_worker.routing import library; library.prepare()"


def python(*lines: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    program = "\n".join(("import sys, threading", *lines))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def loaded(*names: str) -> str:
    """A line that prints which of the modules are loaded."""
    return f"print(*[name for name in {names!r} if name in sys.modules])"


def test_the_static_encoder_and_the_router_load_no_vendor() -> None:
    """Nor what the judge's library needs (aiohttp), nor the Gemini SDK."""
    assert not python(
        "import promptyard_worker.routing.encoders.static",
        "import semantic_router.routers.indexed, semantic_router.routers.decision",
        "import semantic_router.calibration, semantic_router.decision_models.base",
        loaded(*VENDORS, "aiohttp", "google.genai"),
    )


def test_the_gemini_encoder_loads_neither_vendor_nor_static_table() -> None:
    """One pays for the encoder that is configured."""
    assert not python(
        "import promptyard_worker.routing.encoders.gemini, promptyard_worker.routing.embedding",
        loaded(*VENDORS, "model2vec", "tokenizers"),
    )


def test_one_encoder_of_the_library_loads_that_one() -> None:
    """By the package's name of it, as anybody's code imports it."""
    assert python(
        PREPARED,
        "from semantic_router.encoders import OpenAIEncoder",
        loaded(*VENDORS),
    ) == ["openai", "tiktoken"]


def test_every_public_name_is_the_librarys_own() -> None:
    """Compared, name by name, with the packages as they are without us."""
    names = ["", ".encoders", ".index", ".routers", ".decision_models"]
    compare = f"""
import importlib
for package in {names!r}:
    module = importlib.import_module("semantic_router" + package)
    for name in module.__all__:
        found = getattr(module, name)
        print(package, name, getattr(found, "__module__", "?"))
print(module.__name__, importlib.import_module("semantic_router").__version__)
print(importlib.import_module("semantic_router.encoders").AutoEncoder.__module__)
"""
    assert python(PREPARED, compare) == python(compare)


def test_all_of_the_library_can_be_had_in_the_usual_ways() -> None:
    """Attributes, submodules as attributes, a star, ``dir``; a wrong name is a wrong name."""
    assert python(
        PREPARED,
        "import semantic_router",
        "assert semantic_router.Chain and semantic_router.config and semantic_router.utils",
        "from semantic_router.encoders import *",
        "assert CLIPEncoder and issubclass(OpenAIEncoder, DenseEncoder)",
        "assert 'AutoEncoder' in dir(semantic_router.encoders)",
        "assert not hasattr(semantic_router, 'nonsense')",
        "assert not hasattr(semantic_router, '__wrapped__')",
        "from semantic_router import Route; from semantic_router.route import Route as same",
        "print(Route is same)",
    ) == ["True"]


def test_looking_at_every_module_runs_nothing() -> None:
    """``unittest`` and ``inspect`` ask each module for dunder names."""
    assert not python(
        PREPARED,
        "for module in list(sys.modules.values()):",
        "    getattr(module, '__warningregistry__', None), getattr(module, '__file__', None)",
        loaded(*VENDORS),
    )


def test_threads_may_ask_at_once() -> None:
    """Neither a deadlock nor half a package, whatever they ask first."""
    assert python(
        PREPARED,
        "start, found = threading.Barrier(8), []",
        "def ask(turn):",
        "    start.wait()",
        "    import semantic_router, semantic_router.encoders as encoders",
        "    if turn % 2: from semantic_router.encoders.openai import OpenAIEncoder",
        "    found.append((encoders.AutoEncoder, semantic_router.load_router))",
        "threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(8)]",
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]",
        "print(len(found), len(set(found)))",
    ) == ["8", "1"]


def test_a_library_that_is_loaded_already_is_left_alone() -> None:
    """Somebody imported it before us."""
    assert python(
        "import semantic_router; before = semantic_router",
        PREPARED,
        "print(sys.modules['semantic_router'] is before, type(before).__name__)",
    ) == ["True", "module"]
