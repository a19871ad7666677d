"""Building MultiIndex's tables, saving an index and opening it again, beside FAISS; 10^7 codes of 64 bits."""

from __future__ import annotations

import numpy as np
import pytest

import fasthash as fh

N = 10**7


@pytest.fixture
def codes(rng, scale):
    return rng.integers(0, 256, (scale(N, 3000), 8), dtype=np.uint8)


@pytest.fixture
def index(codes):
    index = fh.FlatIndex(64)
    index.add(codes)
    return index


def measure(benchmark, group, row, codes, run, threads=1, setup=None):
    benchmark.group = f"{group}, 10^7 codes of 64 bits" + (f", {threads} threads" if threads > 1 else "")
    benchmark.extra_info.update(row=row, bytes=codes.nbytes, threads=threads)
    return benchmark.pedantic(run, setup=setup, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", ["fast", "compact"])
def bench_build(benchmark, codes, layout, threads):
    latest = []

    def unbuilt():
        latest[:] = [fh.MultiIndex(64, layout=layout)]
        latest[0].add(codes)
        return (latest[0],), {}

    def build(index):
        index.build(threads=threads)

    measure(benchmark, "build the tables", f"fasthash {layout}", codes, build, threads, setup=unbuilt)
    assert latest[0].stats().n_indexed == len(codes)


@pytest.mark.parametrize("name", ["fasthash", "faiss"])
def bench_save(benchmark, codes, index, name, tmp_path):
    faiss = pytest.importorskip("faiss")
    path = str(tmp_path / "index")
    theirs = fh.index.to_faiss(index)
    save = {"fasthash": lambda: index.save(path), "faiss": lambda: faiss.write_index_binary(theirs, path)}[name]
    row = {"fasthash": "fasthash, checksums, forced to the disk", "faiss": "faiss"}[name]
    measure(benchmark, "save", row, codes, save)
    again = fh.load_index(path) if name == "fasthash" else fh.index.from_faiss(faiss.read_index_binary(path))
    assert np.array_equal(again.codes, codes)


OPENED = ("fasthash, mapped", "fasthash, verified", "fasthash, read", "faiss, mapped", "faiss, read")


@pytest.mark.parametrize("name", OPENED)
def bench_open(benchmark, codes, index, name, tmp_path):
    faiss = pytest.importorskip("faiss")
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    index.save(ours)
    faiss.write_index_binary(fh.index.to_faiss(index), theirs)
    load = {
        "fasthash, mapped": lambda: fh.load_index(ours),
        "fasthash, verified": lambda: fh.load_index(ours, verify=True),
        "fasthash, read": lambda: fh.load_index(ours, mmap=False),
        "faiss, mapped": lambda: faiss.read_index_binary(theirs, faiss.IO_FLAG_MMAP_IFC),
        "faiss, read": lambda: faiss.read_index_binary(theirs),
    }[name]
    found = measure(benchmark, "open", name, codes, load)
    n = found.ntotal if "faiss" in name else len(found)
    assert n == len(codes)
