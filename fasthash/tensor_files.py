"""Tensors and what describes them in a safetensors file, checksummed, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fasthash.files import replacing

_CHECKSUM = "blake2b"


def write_tensors(
    path: str | os.PathLike[str], metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write tensors that are contiguous, on the CPU and share no memory, and metadata that has a "format"."""
    content = save(dict(tensors), {**metadata, _CHECKSUM: _checksum(metadata, tensors)})
    with replacing(path) as file:
        file.write_bytes(content)


def read_metadata(expected: str, path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata of any safetensors file; the errors are those of `read_tensors`."""
    metadata, _ = _read(expected, path, with_tensors=False)
    return metadata


def read_tensors(
    expected: str, path: str | os.PathLike[str], form: str, fields: Collection[str], optional: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return what `write_tensors` was given: metadata, with a "format" of `form` and these fields, and tensors.

    Fields that are `optional` may be among the metadata.

    Files of that format written before there were checksums have none, and are read as they are.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not what `write_tensors` wrote. The message begins with `expected`.
    """
    metadata, tensors = _read(expected, path, with_tensors=True)
    if metadata.get("format") != form:
        raise ValueError(f"{expected} one of format {metadata.get('format')!r}, where {form!r} is read")
    checksum = metadata.pop(_CHECKSUM, None)
    if metadata.keys() - set(optional) != {"format", *fields}:
        raise ValueError(f"{expected} one that is described by {', '.join(sorted(metadata))}")
    if checksum not in (None, _checksum(metadata, tensors)):
        raise ValueError(f"{expected} one that does not match its checksum")
    return metadata, tensors


def _read(
    expected: str, path: str | os.PathLike[str], with_tensors: bool
) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    open(path, "rb").close()  # safetensors' own error of a folder names none
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else []
            # What safetensors returns lies in the file, and would change with it.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in names}
    except SafetensorError as error:
        raise ValueError(f"{expected} no whole safetensors file: {error}") from None


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the BLAKE2b, of 16 bytes, of metadata, dtypes and shapes as JSON, and of the tensors by name."""
    described = {name: [str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()}
    digest = hashlib.blake2b(json.dumps([dict(metadata), described], sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(tensors[name].detach().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
