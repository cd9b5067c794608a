"""Checks of the encoder: known, and installed. Imports none of them: that takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from typing import Final

from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.problems import Problem
from promptyard_worker.routing.schema import nearest

#: Where bare class names are looked up.
_LIBRARY: Final = "semantic_router.encoders"
_KEY: Final = ("encoder", "type")


@dataclass(frozen=True)
class Needs:
    """What an encoder needs, and what pip installs it by."""

    modules: tuple[str, ...]
    requirement: str


_WORKER: Final = Needs(("semantic_router",), "'promptyard[worker]'")
_FASTEMBED: Final = Needs(("fastembed",), "fastembed")
_VISION: Final = Needs(("torch", "transformers", "PIL"), "'semantic-router[vision]'")
OURS: Final = {
    "static": Needs(("model2vec",), _WORKER.requirement),
    "gemini": Needs(("google.genai",), _WORKER.requirement),
    "fastembed": _FASTEMBED,
}
#: Dense encoders of semantic-router 1.1.
LIBRARY: Final = {
    "AzureOpenAIEncoder": _WORKER,
    "BedrockEncoder": Needs(("boto3",), "'semantic-router[bedrock]'"),
    "CLIPEncoder": _VISION,
    "CohereEncoder": _WORKER,
    "FastEmbedEncoder": _FASTEMBED,
    "GoogleEncoder": Needs(("google.cloud.aiplatform",), "'semantic-router[google]'"),
    "HFEndpointEncoder": _WORKER,
    "HuggingFaceEncoder": Needs(("torch", "transformers"), "'semantic-router[local]'"),
    "JinaEncoder": _WORKER,
    "LiteLLMEncoder": Needs(("litellm",), "'semantic-router[litellm]'"),
    "LocalEncoder": Needs(("sentence_transformers",), "'semantic-router[local]'"),
    "MistralEncoder": _WORKER,
    "NimEncoder": _WORKER,
    "OllamaEncoder": Needs(("ollama",), "'semantic-router[ollama]'"),
    "OpenAIEncoder": _WORKER,
    "VitEncoder": Needs(("torchvision", *_VISION.modules), _VISION.requirement),
    "VoyageEncoder": _WORKER,
}
_SPARSE: Final = ("BM25Encoder", "TfidfEncoder", "AurelioSparseEncoder", "LocalSparseEncoder")


def _encoder_is_there(config: RouterConfig) -> Iterator[Problem]:
    module, _, name = config.encoder.type.rpartition(":")
    known = {**OURS, **LIBRARY}
    if module and not (module == _LIBRARY or module.startswith(f"{_LIBRARY}.")):
        if module_spec(module) is None:
            what = f"no module {module!r} is installed."
            remedy = "`pip install` the package that has it, or put its folder on PYTHONPATH."
            yield Problem(_KEY, what, remedy)
    elif name in _SPARSE:
        what = f"{name} counts words; routes need dense vectors."
        remedy = "Name a dense encoder; `semantic: {sparse: bm25}` adds words to it."
        yield Problem(_KEY, what, remedy)
    elif name not in known:
        near = nearest(name, known)
        guess = f"Did you mean {near!r}? " if near else ""
        remedy = f"{guess}Valid: {', '.join(OURS)}, a class of {_LIBRARY}, module:Class."
        yield Problem(_KEY, f"unknown encoder {name!r}.", remedy)
    else:
        yield from _is_installed(name, known[name])


def _is_installed(name: str, needs: Needs) -> Iterator[Problem]:
    missing = [module for module in needs.modules if module_spec(module) is None]
    if missing:
        what = f"the encoder {name} is not installed ({', '.join(missing)} missing)."
        yield Problem(_KEY, what, f"Run `pip install {needs.requirement}`.")


def module_spec(name: str) -> ModuleSpec | None:
    """Where a module is; unlike ``find_spec`` of a dotted name it imports no parent."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top) if top else None
    except ValueError:  # something in sys.modules that no import put there
        return None
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        full = ".".join((top, *rest[: depth + 1]))
        spec = PathFinder.find_spec(full, list(spec.submodule_search_locations))
    return spec


def _table_is_there(config: RouterConfig) -> Iterator[Problem]:
    path = config.encoder.path
    if path is not None and not (path / "model.safetensors").is_file():
        yield Problem(
            ("encoder", "path"),
            f"{path} is no folder of a model2vec table.",
            "Name the folder that holds model.safetensors, or remove the key.",
        )


CHECKS = (_encoder_is_there, _table_is_there)
