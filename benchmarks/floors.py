"""What the hardware allows: a plain read and a popcount loop, compiled for this very processor."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest


@cache
def _library() -> ctypes.CDLL:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("the floors need a C++ compiler")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floors.so"
        source = Path(__file__).with_name("floors.cpp")
        flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-std=c++17", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, source, "-o", library], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.read_words.restype = loaded.popcount_only.restype = ctypes.c_uint64
    loaded.read_words.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    loaded.popcount_only.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, *[ctypes.c_int64] * 3]
    return loaded


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def read(codes: np.ndarray, threads: int) -> None:
    """Read every byte once, each thread its share."""
    parts = np.array_split(codes.reshape(-1)[: codes.nbytes // 8 * 8].view(np.uint64), threads)
    library = _library()
    if threads == 1:
        library.read_words(parts[0].ctypes.data, len(parts[0]))
    else:
        list(_pool(threads).map(lambda part: library.read_words(part.ctypes.data, len(part)), parts))


def popcount_only(queries: np.ndarray, n_codes: int) -> None:
    """Compute the distances of every query to as many codes, on one thread, from a tile in the first-level cache."""
    n_words = queries.shape[1] // 8
    tile = max(64, 16384 // (8 * n_words))
    planes = np.zeros(n_words * (tile + 8) + 8, np.uint64)
    aligned = planes.ctypes.data + -planes.ctypes.data % 64
    _library().popcount_only(queries.ctypes.data, aligned, n_words, tile, len(queries), n_codes)
