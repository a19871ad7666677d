"""What every room's table of kernels is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial, wraps
from importlib import import_module, metadata, util
from typing import Any

import torch
from packaging.version import Version

from fasthash import _core
from fasthash.errors import MissingDependencyError, check_choice

_OLDEST = {"triton": "3.6"}  # as pyproject.toml says; CUDA builds of torch bring what they are pinned to

LIBRARY: Any = torch.library.Library("fasthash", "FRAGMENT")  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Kernel:
    """One implementation of a room's functions: a module, imported on first use, that has a function for each.

    Attributes:
        module: the module's dotted name.
        devices: the device types whose tensors it takes.
        package: the optional package it needs, which is also the name of the extra that brings it.
        isa: for the compiled core, the processor level; "" is the best one.
    """

    module: str
    devices: tuple[str, ...]
    package: str | None = None
    isa: str | None = None

    def missing(self) -> str | None:
        """Return why this machine cannot run the kernel, or None if it can."""
        if self.package is not None and (reason := _unusable(self.package)):
            return reason
        if self.isa and self.isa not in _core.runnable_isas():
            return f"this processor has no {self.isa}"
        return None

    def function(self, name: str) -> Callable[..., Any]:
        """Return the function `name` of the kernel's module."""
        return _function(self, name)


@cache
def _unusable(package: str) -> str | None:
    if util.find_spec(package) is None:
        return f"{package} is not installed"
    oldest = _OLDEST.get(package)
    if oldest is not None and Version(metadata.version(package)) < Version(oldest):
        return f"{package} {metadata.version(package)} is installed, older than {oldest}"
    return None


@cache
def _function(kernel: Kernel, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(import_module(kernel.module), name)
    if kernel.package == "triton":
        return _on_the_tensors_device(function)
    return function if kernel.isa is None else partial(function, isa=kernel.isa)


def _on_the_tensors_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Triton launches on the current GPU, which need not be the tensors'."""

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        tensor = next(x for x in args if isinstance(x, torch.Tensor))
        with torch.cuda.device_of(tensor):  # type: ignore[no-untyped-call]
            return function(*args, **options)

    return run


def cpu_kernels(module: str) -> dict[str, Kernel]:
    """Return the compiled core's kernels: "cpu", the best level here, and each level by name."""
    levels = {f"cpu-{isa}": Kernel(module, ("cpu",), isa=isa) for isa in _core.built_isas()}
    return {"cpu": Kernel(module, ("cpu",), isa=""), **levels}


_DEFAULTS = {"cpu": "cpu", "cuda": "triton"}
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)


def default_kernel(device: torch.device) -> str:
    """Return the name of the kernel that answers for a device when none is named, the processor level spelt out."""
    name = _DEFAULTS[device.type]
    return f"cpu-{_core.active_isa()}" if name == "cpu" else name


def is_traced(x: torch.Tensor) -> bool:
    """Return whether torch traces a call on `x`, or `x` is a subclass of tensors, so that its values cannot be read."""
    return torch.compiler.is_compiling() or type(x) not in _PLAIN_TENSORS


def dispatch(
    kernels: Mapping[str, Kernel], op: str, x: torch.Tensor, kernel: str | None, where: str = ""
) -> Callable[..., Any]:
    """Return the function for `op` that answers a call on `x`: the named kernel's, or the device's default one.

    While torch traces, or for a subclass of tensors, that is the registered op. Otherwise it is the kernel itself,
    which the op would come to by a way through Python that takes longer than a small kernel. Errors begin with
    `where`, or else with the op.

    Raises:
        ValueError: for an unknown kernel, or one that does not run on the device or this machine.
        MissingDependencyError: for a kernel whose package is not installed.
    """
    device, where = x.device, where or op
    if kernel is None:
        if device.type not in _DEFAULTS:
            raise ValueError(f"{where}: expected tensors on a CPU or a CUDA device, got {device}")
        chosen = kernels[_DEFAULTS[device.type]]
    else:
        chosen = kernels[check_choice(where, "kernel", kernel, kernels)]
        if device.type not in chosen.devices:
            raise ValueError(f"{where}: kernel {kernel!r} takes tensors on {' or '.join(chosen.devices)}, got {device}")
    if reason := chosen.missing():
        if chosen.package is not None:
            raise MissingDependencyError(
                f"{where} on {device.type} tensors with this kernel", chosen.package, chosen.package, reason
            )
        raise ValueError(f"{where}: kernel {kernel!r} cannot run: {reason}")
    if kernel is None and is_traced(x):
        operator: Callable[..., Any] = getattr(torch.ops.fasthash, op)
        return operator
    return chosen.function(op)


def register(schema: str, kernels: Mapping[str, Kernel], fake: Callable[..., Any]) -> None:
    """Register an op with torch: its schema, its shapes, the compiled core on a CPU and Triton on CUDA."""
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)
    LIBRARY.impl(name, lambda *args: kernels[_DEFAULTS["cpu"]].function(name)(*args), "CPU")
    LIBRARY.impl(name, lambda *args: kernels[_DEFAULTS["cuda"]].function(name)(*args), "CUDA")
    torch.library.register_fake(f"fasthash::{name}", fake, lib=LIBRARY)
