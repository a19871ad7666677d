"""Indexes to and from FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthash.errors import MAX_BITS, MissingDependencyError, check_integer
from fasthash.index.base import Index
from fasthash.index.flat import FlatIndex


def from_faiss(index: Any) -> FlatIndex:
    """Return a copy of a FAISS index: the same codes, ids and, up to the order of ties, hits.

    Args:
        index: a `faiss.IndexBinaryFlat`, or an `IndexBinaryIDMap` or `IndexBinaryIDMap2` of one, whose ids are kept.

    Raises:
        MissingDependencyError: if FAISS is not installed.
        TypeError: if `index` is anything else.
        ValueError: if it is wider than 4,096 bits, or its ids are none that `FlatIndex.add` takes.
    """
    where = "from_faiss"
    faiss = _faiss(where)
    mapped = isinstance(index, faiss.IndexBinaryIDMap)
    flat = faiss.downcast_IndexBinary(index.index) if mapped else index
    if not isinstance(flat, faiss.IndexBinaryFlat):
        name = f"{type(index).__name__} of {type(flat).__name__}" if mapped else type(index).__name__
        raise TypeError(f"{where}: expected an IndexBinaryFlat or an IndexBinaryIDMap of one, got {name}")
    result = FlatIndex(check_integer(where, "n_bits", flat.d, 1, MAX_BITS))
    codes = faiss.rev_swig_ptr(flat.xb.data(), flat.ntotal * flat.code_size) if flat.ntotal else np.empty(0, np.uint8)
    result._add(where, codes.reshape(-1, flat.code_size), faiss.vector_to_array(index.id_map) if mapped else None)
    return result


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
