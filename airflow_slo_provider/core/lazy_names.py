"""Import the public names of a package on first access, so that importing the package in a DAG file does not load all of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

_ROOT = __name__.partition(".")[0]


def offer(
    package: str,
    holds: Mapping[str, str],
    *,
    modules: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Callable[[str], Any]:
    """Offer names of other modules as lazy attributes of a package.

    :param package: ``__name__`` of the package
    :param holds: module -> names in it, separated by blanks, e.g. ``{"slo.budget.windows": "WindowSpan span_at"}``
    :param modules: name -> module, for modules that are offered under another name, e.g. ``{"exemplars":
        "tracing.recording.exemplars"}``
    :param renamed: name of the previous release -> its name now; the old one works, with a warning
    :return: the package's ``__getattr__``
    """
    module_of = {name: f"{_ROOT}.{module}" for module, names in holds.items() for name in names.split()}
    submodules = {name: f"{_ROOT}.{module}" for name, module in (modules or {}).items()}

    class LazyModule(ModuleType):
        """A module class that keeps an offered function when a submodule of the same name is imported.

        Importing the module ``rules`` must not hide the function ``slo.rules(catalog)``.
        """

        def __setattr__(self, name: str, value: Any) -> None:
            if not (isinstance(value, ModuleType) and name in module_of):
                super().__setattr__(name, value)

        def __dir__(self) -> list[str]:
            return sorted({*self.__dict__, *module_of, *submodules})

    module = sys.modules[package]
    module.__class__ = LazyModule

    def load(name: str) -> Any:
        if name in submodules:
            return import_module(submodules[name])
        if renamed and name in renamed:
            warnings.warn(
                f"{package}.{name} is now {renamed[name]}, and its old name will be removed in the next release",
                DeprecationWarning,
                stacklevel=2,
            )
            return load(renamed[name])
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module_of[name]), name)
        setattr(module, name, value)
        return value

    return load
