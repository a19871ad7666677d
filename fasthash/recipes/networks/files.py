"""Modules in safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from fasthash.files import replacing

_M = TypeVar("_M", bound=nn.Module)


def save_module(module: nn.Module, path: str | Path, form: str, settings: Mapping[str, Any]) -> None:
    """Write the arguments of a module's constructor and its weights to a safetensors file."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path) as file:
        save_file(tensors, file, metadata={"format": form, "settings": json.dumps(settings)})


def load_module(kind: type[_M], path: str | Path, form: str) -> _M:
    """Read what `save_module` wrote, in evaluation mode, or raise a ValueError."""
    where = f"{kind.__name__}.load"
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if metadata.get("format") != form:
                raise ValueError(f"{where}: expected a file of format {form!r}, got {path}")
            settings = json.loads(metadata["settings"])
            try:
                module = kind(**settings)
            except ValueError as error:
                raise ValueError(
                    f"{where}: expected settings of a network, got those of {path}: {error}; what registers a name "
                    "must be imported first (fasthash --import)"
                ) from error
            module.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{where}: expected a network written by save, got {path}: {error}") from error
    return module.eval()
