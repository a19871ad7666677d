"""Indexes from files and bytes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import torch

from fasthash.errors import check_flag, naming_memory
from fasthash.index import storage
from fasthash.index.base import Index, check_search_device, storage_name
from fasthash.index.codes import CodePlanes
from fasthash.lazy import load_all
from fasthash.ops.arrays import to_tensor

_BLOCK = 65_536  # how many codes are looked at together


def load_index(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    mmap: bool = True,
    verify: bool = False,
    device: str | torch.device = "cpu",
) -> Index:
    """Read an index that its `save` wrote.

    Args:
        file: a path; or a file that is open for reading bytes, which is read to its end.
        mmap: search the codes where they lie in the file, which is read as it is searched and never changed; adding
            then copies them first, and removing once more than an eighth are removed. By default so; else they are read
            into memory now. An open file always is.
        verify: read the whole file now, compare the checksums of the codes and ids, and see that they are such as `add`
            takes: bits beyond `n_bits` are 0; ids are distinct, not -1, and less than the next number. The checksum of
            the header is always compared.
        device: where the codes are kept and searched; another than the CPU gets a copy.

    Raises:
        FileNotFoundError: if there is no such file.
        IsADirectoryError: if it is a folder, as an index in shards is.
        TypeError: if `file` is neither.
        ValueError: if the file is not an index, is damaged, was written by a version of another format, or is of a
            subclass that is not imported.
    """
    if not isinstance(file, (str, os.PathLike)) and (not hasattr(file, "read") or isinstance(file, io.TextIOBase)):
        raise TypeError(f"load_index: expected file to be a path, or open for reading bytes, got {type(file).__name__}")
    if isinstance(file, (str, os.PathLike)) and os.path.isdir(file):
        raise IsADirectoryError(
            f"load_index: expected a file, got the folder {os.fspath(file)!r}; "
            "fasthash.cluster.ShardedIndex.open opens an index in shards"
        )
    with naming_memory("load_index"):
        return _loaded("load_index", file, mmap, verify, device)


def from_bytes(
    data: bytes | bytearray | memoryview, *, verify: bool = False, device: str | torch.device = "cpu"
) -> Index:
    """Return the index of what `to_bytes` returned or `save` wrote, its codes where they lie in `data`.

    Args:
        data: not to be written to while the index is used.
        verify: as in `fasthash.load_index`.
        device: as in `fasthash.load_index`.

    Raises:
        TypeError: if `data` is not bytes.
        ValueError: as `fasthash.load_index` does.
    """
    where = "from_bytes"
    try:
        view = memoryview(data).cast("B")
    except TypeError:
        raise TypeError(f"{where}: expected data to be contiguous bytes, got {type(data).__name__}") from None
    with naming_memory(where):
        return _loaded(where, view, True, verify, device)


def _loaded(
    where: str,
    source: str | os.PathLike[str] | BinaryIO | memoryview,
    mmap: bool,
    verify: bool,
    device: str | torch.device,
) -> Index:
    to = check_search_device(where, device)
    check_flag(where, "mmap", mmap)
    check_flag(where, "verify", verify)
    name = storage.name_of(source)
    kind, settings, arrays = storage.read(where, source, mmap=mmap, verify=verify)
    load_all("fasthash.index")
    classes = {storage_name(cls): cls for cls in _subclasses(Index)}  # type: ignore[type-abstract]
    if kind not in classes:
        hint = f"; import {kind.partition(':')[0]} first" if ":" in kind else ""
        raise ValueError(f"{where}: expected a file of {' or '.join(sorted(classes))} {name}, got one of {kind}{hint}")
    tensors = {key: to_tensor(where, key, x) for key, x in arrays.items()}
    try:
        index = classes[kind]._from_state(settings, tensors, to)
        if verify:
            _check_content(index, tensors.get("ids"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected a {kind} {name}, got one that cannot be: {error}") from None
    return index


def _check_content(index: Index, ids: torch.Tensor | None) -> None:
    """Raise a ValueError if an index would not have added these ids and its codes."""
    for _, codes in index._contents.blocks(_BLOCK) if index.n_bits % 8 else ():
        if codes[:, -1].cpu().numpy().max() >> index.n_bits % 8:
            raise ValueError(f"its codes have bits beyond the first {index.n_bits}")
    if isinstance(index._contents.codes, CodePlanes):
        index._contents.codes.check_counts()
    if ids is None or len(ids) == 0:
        return
    i = np.sort(ids.numpy())
    next_id = index._contents.next_id
    if next_id is not None and not 0 <= i[0] <= i[-1] < next_id:
        raise ValueError(f"its ids are from {i[0]} to {i[-1]}, where the next is {next_id}")
    if (i == -1).any():
        raise ValueError("its ids have a -1, which stands for no hit")
    if (i[1:] == i[:-1]).any():
        raise ValueError("its ids are not distinct")


def _subclasses(cls: type[Index]) -> Iterator[type[Index]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
