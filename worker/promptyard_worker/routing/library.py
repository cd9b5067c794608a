"""Makes ``import semantic_router`` cost what is used of it.

The library's packages import every vendor's SDK (openai, mistralai, voyageai, cohere, ...)
for encoders that a policy does not name: a second and 70 MB a worker. ``prepare`` puts a
stand-in for these packages in place before their first import. A name that the package
takes from one of its modules is then taken from that module alone, when it is first asked;
anything else runs the package's own ``__init__``, so that the whole library is there for
whoever wants it.
"""

from __future__ import annotations

import ast
import sys
import threading
from functools import cached_property
from importlib import import_module, util
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

#: Packages whose ``__init__`` is dear, parents first.
_DEAR: Final = (
    "semantic_router",
    "semantic_router.encoders",
    "semantic_router.index",
    "semantic_router.decision_models",
)
#: Attributes that only the ``__init__`` can give; other dunders are the import system's.
_ITS_DUNDERS: Final = frozenset({"__all__", "__version__"})


def prepare() -> None:
    """Put the stand-ins in place; does nothing if the library is loaded already."""
    if _DEAR[0] in sys.modules:
        return
    for name in _DEAR:
        spec = util.find_spec(name)
        loader = spec.loader if spec else None
        if spec is None or not isinstance(loader, InspectLoader):
            return  # not installed: its import says so
        package = sys.modules.setdefault(name, _LazyPackage(spec, loader))
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)


class _LazyPackage(ModuleType):
    """A package that has not run its ``__init__`` yet."""

    def __init__(self, spec: ModuleSpec, loader: InspectLoader) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__loader__ = self._loader = loader
        self.__package__ = spec.name
        self.__path__ = spec.submodule_search_locations or []
        self.__file__ = spec.origin
        self._lock = threading.RLock()
        self._has_begun = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _ITS_DUNDERS:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        # Without the lock: importing holds locks of the import system.
        if source := self._sources.get(name):
            module, its_name = source
            found = self.__dict__[name] = getattr(import_module(module), its_name)
            return found
        self._run()
        return ModuleType.__getattribute__(self, name)

    def __dir__(self) -> list[str]:
        self._run()
        return list(ModuleType.__dir__(self))

    @cached_property
    def _sources(self) -> dict[str, tuple[str, str]]:
        """Names that the ``__init__`` imports: from which module, and their name there."""
        tree = ast.parse(self._loader.get_source(self.__name__) or "")
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            for alias in node.names
        }

    def _run(self) -> None:
        """Run the ``__init__``, once; from then on this is an ordinary package."""
        with self._lock:
            if self._has_begun:  # done, or this very thread is at it
                return
            self._has_begun = True
            try:
                self._loader.exec_module(self)
            except BaseException:
                self._has_begun = False
                raise
