"""What ``import promptyard`` offers, and what it does not load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import promptyard

#: Heavy, or only the worker's.
FORBIDDEN = {
    "aiohttp",
    "celery",
    "fastapi",
    "google",
    "model2vec",
    "numpy",
    "promptyard_worker",
    "rich",
    "semantic_router",
    "typer",
}
#: What a producer itself needs none of; plain ``import promptyard`` neither.
ALSO_NOT_ALONE = {"pydantic", "redis", "zstandard"}


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_package_loads_next_to_nothing() -> None:
    """A web backend pays for what it uses, when it uses it."""
    assert not (FORBIDDEN | ALSO_NOT_ALONE) & loaded_after("import promptyard")


@pytest.mark.parametrize(
    "code",
    [
        "from promptyard import Producer, AsyncProducer, Job",
        "from promptyard import *",
        "import promptyard.producer, promptyard.store.messages, promptyard.catalog",
    ],
)
def test_producing_needs_nothing_of_the_worker(code: str) -> None:
    """Neither Celery nor the SDK nor the router, whatever of the surface is used."""
    assert not FORBIDDEN & loaded_after(code)


@pytest.mark.parametrize("name", promptyard.__all__)
def test_every_name_can_be_had(name: str) -> None:
    """Each loads on first use and is the same object from then on."""
    found = getattr(promptyard, name)
    assert found is getattr(promptyard, name)
    assert found.__name__ == name
    assert found.__doc__


def test_the_surface_is_what_it_says() -> None:
    """__all__ is sorted and complete; dir() shows it."""
    assert promptyard.__all__ == sorted(promptyard.__all__)
    assert set(promptyard.__all__) <= set(dir(promptyard))
    homes = {name for names in promptyard._HOMES.values() for name in names}
    assert homes == set(promptyard.__all__)


def test_every_error_is_ours() -> None:
    """One except clause catches them all, and each has its exit code."""
    from promptyard import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 5
    assert all(issubclass(kind, promptyard.PromptyardError) for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(promptyard.__all__)
    assert all(kind.exit_code > 0 for kind in kinds)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match=r"'promptyard' has no attribute 'Prodcuer'"):
        promptyard.Prodcuer  # noqa: B018


def test_the_types_are_marked() -> None:
    """py.typed lies in the package."""
    from importlib.resources import files

    assert (files("promptyard") / "py.typed").is_file()
