"""What every room's table of kernels is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from importlib import import_module, metadata, util
from typing import Any

import torch
from packaging.version import Version

from fasthash import _core
from fasthash.errors import MissingDependencyError, check_choice

_OLDEST = {"triton": "3.6"}  # as pyproject.toml says; CUDA builds of torch bring what they are pinned to

_DEFAULTS = {"cpu": ("cpu",), "cuda": ("triton", "torch")}  # of which the first that a room has answers
_DEVICES = {"cpu": "a CPU", "cuda": "a CUDA device"}
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)
is_jit_traced: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]
is_transformed: Callable[[], bool] = torch._C._are_functorch_transforms_active  # by torch.func
_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", bool)  # torch 2.6 cannot tell


@dataclass(frozen=True, eq=False)
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
    _functions: dict[str, Callable[..., Any]] = field(default_factory=dict, init=False, repr=False)

    def missing(self) -> str | None:
        """Return why this machine cannot run the kernel, or None if it can."""
        if self.package is not None and (reason := _unusable(self.package)):
            return reason
        if self.isa and self.isa not in _core.runnable_isas():
            return f"this processor has no {self.isa}"
        return None

    def function(self, name: str) -> Callable[..., Any]:
        """Return the function `name` of the kernel's module."""
        if name not in self._functions:
            function: Callable[..., Any] = getattr(import_module(self.module), name)
            if self.package == "triton":
                function = _on_the_tensors_device(function)
            self._functions[name] = partial(function, isa=self.isa) if self.isa else function
        return self._functions[name]


@cache
def _unusable(package: str) -> str | None:
    if util.find_spec(package) is None:
        return f"{package} is not installed"
    oldest = _OLDEST.get(package)
    if oldest is not None and Version(metadata.version(package)) < Version(oldest):
        return f"{package} {metadata.version(package)} is installed, older than {oldest}"
    return None


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


def default_kernel(kernels: Mapping[str, Kernel], device: torch.device) -> str | None:
    """Return the name of a room's kernel that answers for a device when none is named, or None if none does."""
    for name in _DEFAULTS.get(device.type, ()):
        if name in kernels:
            return name
    return None


def default_level(kernels: Mapping[str, Kernel], device: torch.device) -> str | None:
    """Return `default_kernel`, spelling out which processor level's kernel the room has for this processor."""
    name = default_kernel(kernels, device)
    if name != "cpu":
        return name
    room = kernels[name].module.removeprefix("fasthash.ops.").partition(".")[0]
    return f"cpu-{_core.room_level(room)}"


def is_traced(x: torch.Tensor) -> bool:
    """Return whether the values of `x` cannot be read: torch traces or transforms the call, or it is of a subclass."""
    return type(x) not in _PLAIN_TENSORS or torch.compiler.is_compiling() or is_jit_traced() or is_transformed()


def leaves_the_process() -> bool:
    """Return whether torch records the calls for a program that may run without this package: an export or a trace."""
    return is_jit_traced() or _is_exporting()


def choose(kernels: Mapping[str, Kernel], device: torch.device, kernel: str | None, where: str) -> Kernel:
    """Return the kernel of that name, or the one that answers for tensors on a device. Errors begin with `where`.

    Raises:
        ValueError: for an unknown kernel, or one that does not run on the device or this machine.
        MissingDependencyError: for a kernel whose package is not installed.
    """
    name = default_kernel(kernels, device) if kernel is None else check_choice(where, "kernel", kernel, kernels)
    if name is None:
        there = [words for kind, words in _DEVICES.items() if default_kernel(kernels, torch.device(kind))]
        raise ValueError(f"{where}: expected tensors on {' or '.join(there)}, got {device}")
    chosen = kernels[name]
    if kernel is not None and device.type not in chosen.devices:
        raise ValueError(f"{where}: kernel {kernel!r} takes tensors on {' or '.join(chosen.devices)}, got {device}")
    if reason := chosen.missing():
        if chosen.package is not None:
            raise MissingDependencyError(
                f"{where} on {device.type} tensors with this kernel", chosen.package, chosen.package, reason
            )
        raise ValueError(f"{where}: kernel {kernel!r} cannot run: {reason}")
    return chosen


def function_for(
    kernels: Mapping[str, Kernel], op: str, x: torch.Tensor, kernel: str | None, where: str
) -> tuple[Callable[..., Any], bool]:
    """Return the function for `op` of the kernel that `choose` does, and False; or what torch registers, and True.

    That is while torch traces, or for a subclass of tensors, where no kernel is named.
    """
    chosen = choose(kernels, x.device, kernel, where)
    if kernel is None and is_traced(x):
        return getattr(torch.ops.fasthash, op), True
    return chosen.function(op), False
