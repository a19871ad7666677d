"""Modules in safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from fasthash.errors import dtype_name
from fasthash.tensor_files import read_tensors, write_tensors

_M = TypeVar("_M", bound=nn.Module)


def save_module(module: nn.Module, path: str | Path, form: str, settings: Mapping[str, Any]) -> None:
    """Write the arguments of a module's constructor and its weights, of tensors that are one the first."""
    tensors = {name: _whole(tensor) for name, tensor in _distinct(module).items()}
    write_tensors(path, {"format": form, "settings": json.dumps(settings)}, tensors)


def load_module(kind: type[_M], path: str | Path, form: str) -> _M:
    """Read what `save_module` wrote, in evaluation mode.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file, or its settings and weights do not fit together.
    """
    expected = f"{kind.__name__}.load: expected a file of {kind.__name__} at {path}, got"
    metadata, tensors = read_tensors(expected, path, form, ["settings"])
    try:
        module = kind(**json.loads(metadata["settings"]))
    except (TypeError, ValueError, RuntimeError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{expected} settings that make none: {error}; what registers a name must be imported first "
            "(fasthash --import)"
        ) from error
    own = _distinct(module)
    if tensors.keys() != own.keys():
        differing = ", ".join(sorted(tensors.keys() ^ own.keys()))
        raise ValueError(f"{expected} one that lacks, or has beyond its settings, {differing}")
    parameters = dict(module.named_parameters())
    for name, tensor in tensors.items():
        same_kind = tensor.is_floating_point() and own[name].is_floating_point()
        if tensor.shape != own[name].shape or not (same_kind or tensor.dtype == own[name].dtype):
            wanted = f"{dtype_name(own[name])} {list(own[name].shape)}"
            raise ValueError(
                f"{expected} one whose {name} is {dtype_name(tensor)} {list(tensor.shape)}, where its settings make "
                f"{wanted}"
            )
        if tensor.isnan().any() or (name in parameters and not tensor.isfinite().all()):
            raise ValueError(f"{expected} one whose {name} is not finite")
    module.load_state_dict(tensors, strict=False)  # the names of tensors that are one are not all there
    return module.eval()


def _distinct(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of a module, of tensors that are one the first."""
    first: dict[Any, tuple[str, torch.Tensor]] = {}
    for name, tensor in module.state_dict().items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        first.setdefault(place if tensor.numel() else name, (name, tensor))
    return dict(first.values())


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the CPU that is contiguous and shares its memory with no part of another."""
    tensor = tensor.cpu().contiguous()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
