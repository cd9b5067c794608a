"""Finds and builds the encoder that router.yaml names, and imports no other."""

from __future__ import annotations

import inspect
import json
from importlib import import_module, util
from typing import Any, Final

from pydantic import ValidationError

from promptyard.errors import RouterFileError
from promptyard_worker.routing.encoders.base import ArrayEncoder
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stages import EncoderConfig

#: Where bare class names are looked up.
_LIBRARY: Final = "semantic_router.encoders"
_FASTEMBED: Final = f"{_LIBRARY}.fastembed:FastEmbedEncoder"


def load_encoder(config: EncoderConfig, services: Services) -> ArrayEncoder:
    """The encoder of a policy.

    Raises:
        RouterFileError: it is not installed, is none, or does not take its arguments.
    """
    if config.type == "static":
        from promptyard_worker.routing.encoders.static import StaticEncoder

        return StaticEncoder(config.path)
    if config.type == "gemini":
        return _gemini(config, services)
    return _foreign(config)


def _gemini(config: EncoderConfig, services: Services) -> ArrayEncoder:
    from promptyard_worker.routing.encoders.gemini import DEFAULT_MODEL, GeminiEncoder

    return GeminiEncoder(
        services.gemini(),
        name=config.name or DEFAULT_MODEL,
        dimensions=config.dimensions,
        task_type=config.task_type,
        texts_per_minute=config.texts_per_minute,
    )


def _foreign(config: EncoderConfig) -> ArrayEncoder:
    from promptyard_worker.routing.encoders.foreign import ForeignEncoder

    arguments = dict(config.options) | ({"name": config.name} if config.name else {})
    try:
        inner = _class_of(config.type)(**arguments)
    except RouterFileError:
        raise
    except ImportError as error:
        raise RouterFileError(f"encoder.type {config.type}: {_pip_line(error)}") from error
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        )
        raise _unbuildable(config, places) from None
    except Exception as error:  # each vendor has its own way to miss a key
        raise _unbuildable(config, f"{type(error).__name__}: {error}") from error
    identity = json.dumps([config.type, inner.name, config.options], sort_keys=True)
    return ForeignEncoder(inner, identity=identity)


def _class_of(name: str) -> Any:
    """The class that ``encoder.type`` names.

    Raises:
        RouterFileError: there is none, or it is no dense encoder.
    """
    from semantic_router.encoders.base import DenseEncoder, SparseEncoder

    if name == "fastembed":
        if util.find_spec("fastembed") is None:
            raise RouterFileError("encoder.type fastembed is not installed: pip install fastembed")
        name = _FASTEMBED
    module, _, attribute = name.rpartition(":")
    try:
        found = getattr(import_module(module or _LIBRARY), attribute, None)
    except ImportError as error:
        raise RouterFileError(f"encoder.type {name}: {_pip_line(error)}") from error
    except Exception as error:  # a module of the user's
        raise RouterFileError(
            f"encoder.type: importing the module {module} fails ({type(error).__name__}: {error})."
        ) from error
    if not inspect.isclass(found):
        where = f"the module {module}" if module else "semantic-router"
        raise RouterFileError(
            f"encoder.type: {where} has no class {attribute!r}. Use static, gemini, fastembed, "
            f"a class of semantic_router.encoders (CLIPEncoder) or module:Class."
        )
    if issubclass(found, SparseEncoder):
        raise RouterFileError(
            f"encoder.type: {name} is a sparse encoder. For words beside meaning set "
            f"`semantic: {{sparse: bm25}}` and name a dense encoder here."
        )
    if not issubclass(found, DenseEncoder):
        raise RouterFileError(
            f"encoder.type: {name} is no encoder. Derive it from "
            f"semantic_router.encoders.base.DenseEncoder."
        )
    return found


def _pip_line(error: ImportError) -> str:
    """What is missing, and how to get it."""
    if error.name and isinstance(error, ModuleNotFoundError):
        package = error.name.partition(".")[0]
        return (
            f"there is no module {error.name!r}: pip install {package.replace('_', '-')}, or put "
            f"its folder on PYTHONPATH"
        )
    return str(error)  # semantic-router's own words hold the line


def _unbuildable(config: EncoderConfig, reason: str) -> RouterFileError:
    return RouterFileError(
        f"encoder.type {config.type} cannot be built from encoder.name and encoder.options "
        f"({reason})."
    )
