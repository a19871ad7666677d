"""Indexes to and from FAISS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.errors import MAX_BITS, MissingDependencyError, check_integer, naming_memory
from fasthash.index.base import Index
from fasthash.index.flat import FlatIndex


@naming_memory("from_faiss")
def from_faiss(index: Any) -> FlatIndex:
    """Return a copy of the codes and ids of a FAISS index.

    Args:
        index: a `faiss.IndexBinaryFlat`, `IndexBinaryIVF`, `IndexBinaryHNSW` or `IndexBinaryMultiHash`, or an
            `IndexBinaryIDMap` or `IndexBinaryIDMap2` of one, whose ids are kept. An `IndexBinaryHash` does not give
            its codes away.

    Returns:
        An index that finds exactly what a `faiss.IndexBinaryFlat` of these codes would, up to the order of ties; in the
        order of insertion or, of an IVF index with ids of its own, of the ids.

    Raises:
        MissingDependencyError: if FAISS is not installed.
        TypeError: if `index` is anything else.
        ValueError: if it is wider than 4,096 bits, its ids are none that `FlatIndex.add` takes, or it is an ID map of
            an IVF index from which codes were removed, where FAISS mixes the ids up.
    """
    where = "from_faiss"
    faiss = _faiss(where)
    codes, ids = _codes_and_ids(faiss, index, type(index).__name__)
    result = FlatIndex(check_integer(where, "n_bits", index.d, 1, MAX_BITS))
    result._add(where, codes, ids)
    return result


def _codes_and_ids(faiss: Any, index: Any, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Return the codes of a FAISS index, which may be its own memory, and their ids unless they are 0, 1, 2, ..."""
    if isinstance(index, faiss.IndexBinaryIDMap):
        inner = faiss.downcast_IndexBinary(index.index)
        name = f"{name} of {type(inner).__name__}"
        codes, numbers = _codes_and_ids(faiss, inner, name)
        if numbers is not None and len(numbers):
            raise ValueError(
                f"from_faiss: expected an {name} that numbers its codes 0, 1, 2, ..., got other numbers, as remove_ids "
                "leaves them in an IndexBinaryIVF: FAISS, too, finds wrong ids by them; give an IndexBinaryIVF its ids "
                "by its own add_with_ids"
            )
        return codes, faiss.vector_to_array(index.id_map)
    if isinstance(index, faiss.IndexBinaryIVF):
        return _listed(faiss, index)
    if isinstance(index, (faiss.IndexBinaryHNSW, faiss.IndexBinaryMultiHash)):
        index = faiss.downcast_IndexBinary(index.storage)
    if not isinstance(index, faiss.IndexBinaryFlat):
        raise TypeError(
            "from_faiss: expected an IndexBinaryFlat, IndexBinaryIVF, IndexBinaryHNSW or IndexBinaryMultiHash, or an "
            f"IndexBinaryIDMap of one (faiss.read_index_binary reads a file), got {name}"
        )
    return _viewed(faiss, index.xb.data(), index.ntotal, index.code_size), None


def _listed(faiss: Any, index: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Return codes and ids of an IVF index, ordered by id."""
    lists = index.invlists
    sizes = [lists.list_size(i) for i in range(index.nlist)]
    parts = [_viewed(faiss, lists.get_codes(i), n, index.code_size) for i, n in enumerate(sizes)]
    ids = np.concatenate([np.empty(0, np.int64)] + [_viewed(faiss, lists.get_ids(i), n) for i, n in enumerate(sizes)])
    order = np.argsort(ids, kind="stable")
    consecutive = np.array_equal(ids[order], np.arange(len(ids)))
    return np.concatenate(parts)[order], None if consecutive else ids[order]


def _viewed(faiss: Any, pointer: Any, n: int, *row_shape: int) -> Any:
    """Return what n rows at a pointer of FAISS's are, a view."""
    if n == 0:
        return np.empty((0, *row_shape), np.uint8 if row_shape else np.int64)
    return faiss.rev_swig_ptr(pointer, n * math.prod(row_shape)).reshape(n, *row_shape)


@naming_memory("to_faiss")
def to_faiss(index: Index) -> Any:
    """Return a copy of an index: a `faiss.IndexBinaryFlat`, in a `faiss.IndexBinaryIDMap2` if ids are not 0, 1, 2, ...

    Raises:
        MissingDependencyError: if FAISS is not installed.
        TypeError: if `index` is not an index of fasthash.
        ValueError: if its codes do not fill whole bytes, which FAISS demands.
    """
    faiss = _faiss("to_faiss")
    if not isinstance(index, Index):
        raise TypeError(f"to_faiss: expected an index of fasthash, got {type(index).__name__}")
    if index.n_bits % 8:
        raise ValueError(f"to_faiss: expected n_bits to be a multiple of 8, as FAISS demands, got {index.n_bits}")
    codes, ids = index.codes.cpu().numpy(), index.ids.cpu().numpy()
    result = faiss.IndexBinaryFlat(index.n_bits)
    if np.array_equal(ids, np.arange(len(ids))):
        result.add(codes)
    else:
        result = faiss.IndexBinaryIDMap2(result)
        result.add_with_ids(codes, ids)
    return result


def _faiss(where: str) -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingDependencyError(where, "FAISS", "faiss") from None
    return faiss
