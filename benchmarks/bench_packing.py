"""Packing float32 embeddings, every kernel beside NumPy and one read of the same bytes; then the product as well.

Encoding is measured beside the product alone, written to memory that is there already, and beside FAISS's LSH.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.packing import KERNELS

from .conftest import runnable
from .floors import read


def numpy_pack(x):
    return np.packbits(x > 0, axis=1, bitorder="little")


def kernel_pack(kernel):
    pack = kernel.function("pack_bits")
    return lambda x: pack(torch.from_numpy(x)).numpy()


ROWS = {f"fasthash {name}": kernel_pack(kernel) for name, kernel in runnable(KERNELS).items()} | {"numpy": numpy_pack}


@pytest.fixture
def x(rng, scale):
    return rng.standard_normal((scale(10**6, 1000), 64), dtype=np.float32)


def measure(benchmark, name, function):
    benchmark.group = "pack 1e6 x 64 float32"
    benchmark.extra_info.update(row=name, bytes=10**6 * 64 * 4)
    return benchmark.pedantic(function, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("name", ROWS)
def bench_pack(benchmark, x, name):
    np.testing.assert_array_equal(measure(benchmark, name, lambda: ROWS[name](x)), numpy_pack(x))


def bench_floor_read(benchmark, x):
    measure(benchmark, "floor read", lambda: read(x.view(np.uint8), 1))


@dataclass(frozen=True)
class Encoding:
    n: int
    d: int
    n_bits: int
    threads: int

    def __str__(self):
        threads = "" if self.threads == 1 else f", {self.threads} threads"
        return f"encode {self.n:.0e} x {self.d} to {self.n_bits} bits{threads}".replace("e+0", "e")


ENCODINGS = [
    Encoding(n, d, n_bits, threads)
    for n, d, n_bits in ((10**6, 64, 64), (2 * 10**5, 512, 64), (10**6, 128, 128))
    for threads in (1, 2)
]


@pytest.fixture
def encoding(request, rng, scale, monkeypatch):
    """Return embeddings [n, d] and a projection [d, n_bits], after the number of threads is set."""
    case = request.param
    monkeypatch.setenv("FASTHASH_THREADS", str(case.threads))
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    x = rng.standard_normal((scale(case.n, 1000), case.d), dtype=np.float32)
    yield case, torch.from_numpy(x), torch.from_numpy(rng.standard_normal((case.d, case.n_bits), dtype=np.float32))
    torch.set_num_threads(before)


def measure_encoding(benchmark, case, name, function):
    benchmark.group = str(case)
    benchmark.extra_info.update(row=name, bytes=case.n * case.d * 4, threads=case.threads)
    return benchmark.pedantic(function, rounds=7, warmup_rounds=1)


def assert_sides(codes, x, projection):
    values = x[:1000].double() @ projection.double()
    certain = values.abs() > 1e-4
    assert torch.equal(fh.unpack_bits(codes[:1000], projection.shape[1])[certain] > 0, (values > 0)[certain])


ENCODERS = {
    **{
        f"fasthash {name}": kernel.function("pack_projections")
        for name, kernel in runnable(KERNELS, "reference").items()
    },
    "torch.mm + pack_bits": lambda x, projection, _: fh.pack_bits(torch.mm(x, projection)),
}


@pytest.mark.parametrize("encoding", ENCODINGS, indirect=True, ids=str)
@pytest.mark.parametrize("name", ENCODERS)
def bench_encode(benchmark, encoding, name):
    case, x, projection = encoding
    if "numba" in name and case.threads > 1:
        pytest.skip("this kernel has one thread")
    codes = measure_encoding(benchmark, case, name, lambda: ENCODERS[name](x, projection, None))
    assert_sides(codes, x, projection)


@pytest.mark.parametrize("encoding", ENCODINGS, indirect=True, ids=str)
def bench_encode_by_faiss(benchmark, encoding):
    faiss = pytest.importorskip("faiss")
    case, x, _ = encoding
    faiss.omp_set_num_threads(case.threads)
    index = faiss.IndexLSH(case.d, case.n_bits, True)
    rotation = faiss.vector_to_array(index.rrot.A).reshape(case.n_bits, case.d)
    codes = measure_encoding(benchmark, case, "faiss IndexLSH", lambda: index.sa_encode(x.numpy()))
    assert_sides(torch.from_numpy(codes), x, torch.from_numpy(rotation).T)


@pytest.mark.parametrize("encoding", ENCODINGS, indirect=True, ids=str)
def bench_floor_product(benchmark, encoding):
    case, x, projection = encoding
    out = x.new_empty((len(x), case.n_bits))
    measure_encoding(benchmark, case, "floor torch.mm", lambda: torch.mm(x, projection, out=out))
