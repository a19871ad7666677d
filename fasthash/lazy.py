"""Packages whose names are loaded when they are first asked for (PEP 562), so that importing one costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import lazy_loader


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of the package in `file`, whose stub beside it says what is where.

    Raises:
        ImportError: from `__getattr__`, if a name needs the compiled core and that is not built.
    """
    find, _, names = lazy_loader.attach_stub(package, file)
    public = [name for name in names if not name.startswith("_") or name == "__version__"]

    def load(name: str) -> Any:
        try:
            value = find(name)
        except ModuleNotFoundError as error:
            if error.name != "fasthash._core":
                raise
            raise ImportError(
                f"fasthash: expected the compiled core in {Path(__file__).parent}, got a checkout that is not built; "
                "build first: make core PYTHON=python3, or make test, then use .venv/bin/python; or use an installed "
                "fasthash from another folder"
            ) from None
        sys.modules[package].__dict__[name] = value
        return value

    return load, lambda: public, public


def load_all(package: str) -> None:
    """Load every public name of a package, so that base classes know what is derived from them."""
    module = import_module(package)
    for name in module.__all__:
        getattr(module, name)
