"""Exact asymmetric top-k: every kernel beside the Hamming search, FAISS's RaBitQ and the exact inner product of floats.

`group` says the question; a row's recall is that of the ten nearest vectors by the inner product. Clustered vectors are
Gaussian around Gaussian centres, ten a centre. Sentences are `embeddings` of the `.npz` file that the environment's
FASTHASH_SENTENCES names, if it does, the last of them as queries; they are centred and rotated.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.ops.asymmetric import KERNELS
from fasthash.ops.hamming import KERNELS as HAMMING

from .conftest import runnable

K = 10


@dataclass(frozen=True)
class Case:
    bits: int
    n: int
    q: int = 100
    data: str = "clustered"

    def __str__(self) -> str:
        return f"{self.bits} bits n={self.n:.0e} q={self.q} k={K} {self.data}".replace("e+0", "e")


CASES = [
    *(Case(bits, 10**6, data=data) for bits in (384, 768) for data in ("clustered", "uniform")),
    *(Case(bits, 10**6) for bits in (64, 128, 256)),
    *(Case(bits, 10**6, 1) for bits in (128, 256, 384, 768)),
]
SENTENCES = Case(384, 19_000, 1_000, "sentences")


@lru_cache(maxsize=1)
def vectors(case):
    """Unit vectors: a database [n, bits], queries and the exact nearest of each."""
    generator = torch.Generator().manual_seed(case.bits)
    if case.data == "sentences":
        embeddings = torch.from_numpy(np.load(os.environ["FASTHASH_SENTENCES"])["embeddings"]).float()
        rotation = torch.linalg.qr(torch.randn(case.bits, case.bits, generator=generator)).Q
        x = (embeddings - embeddings.mean(0)) @ rotation
        x, queries = x[: case.n], x[-case.q :]
    else:
        x = torch.randn(case.n, case.bits, generator=generator)
        queries = torch.randn(case.q, case.bits, generator=generator)
        if case.data == "clustered":
            centres = torch.randn(case.n // 10, case.bits, generator=generator)
            x.mul_(0.7).add_(centres.repeat(10, 1)[: case.n])
            queries = 0.7 * queries + centres[torch.randperm(len(centres), generator=generator)[: case.q]]
    x, queries = torch.nn.functional.normalize(x), torch.nn.functional.normalize(queries)
    nearest = torch.cat([(part @ x.T).topk(K, dim=1).indices for part in queries.split(20)])
    return x, queries, nearest


def measure(benchmark, case, row, function):
    x, queries, nearest = vectors(case)
    benchmark.group = str(case)
    ids = torch.as_tensor(benchmark.pedantic(function, rounds=5, warmup_rounds=1)).long()
    recall = (ids[:, :, None] == nearest[:, None]).any(2).float().mean().item()
    benchmark.extra_info.update(
        row=f"{row}, recall {recall:.3f}", comparisons=len(queries) * len(x), bytes=x.numel() // 8
    )
    return ids


def sized(case, scale):
    return Case(case.bits, scale(case.n, 3_000), scale(case.q, min(case.q, 10)), case.data)


def cases():
    there = [SENTENCES] if "FASTHASH_SENTENCES" in os.environ else []
    return pytest.mark.parametrize("case", CASES + there, ids=str)


@cases()
@pytest.mark.parametrize("kernel", runnable(KERNELS, "reference", "torch"))
def bench_asymmetric(benchmark, one_thread, scale, case, kernel):
    case = sized(case, scale)
    x, queries, _ = vectors(case)
    codes = fh.pack_bits(x)
    search = KERNELS[kernel].function("asymmetric_topk")
    ids = measure(benchmark, case, f"fasthash {kernel}", lambda: search(queries, codes, K, 4, None, 1)[1])
    some = slice(0, 2)
    expected = KERNELS["reference"].function("asymmetric_topk")(queries[some], codes, K, 4)[1]
    assert torch.equal(ids[some], expected)


@cases()
def bench_factors(benchmark, one_thread, scale, case):
    """RaBitQ's estimate of the inner product, of unit vectors."""
    case = sized(case, scale)
    x, queries, _ = vectors(case)
    codes, factors = fh.pack_bits(x), 1 / x.abs().sum(1)
    ids = measure(
        benchmark,
        case,
        "fasthash, factors",
        lambda: fh.asymmetric_topk(queries, codes, K, factors=factors, threads=1).ids,
    )
    expected = KERNELS["reference"].function("asymmetric_topk")(queries[:2], codes, K, 4, factors=factors)[1]
    assert torch.equal(ids[:2], expected)


@cases()
@pytest.mark.parametrize("kernel", runnable(HAMMING, "reference", "numba"))
def bench_hamming(benchmark, one_thread, scale, case, kernel):
    case = sized(case, scale)
    x, queries, _ = vectors(case)
    codes, packed = fh.pack_bits(x), fh.pack_bits(queries)
    search = HAMMING[kernel].function("hamming_topk")
    ids = measure(benchmark, case, f"fasthash Hamming {kernel}", lambda: search(packed, codes, K, None, 1)[1])
    assert torch.equal(ids, fh.asymmetric_topk(queries, codes, K, bits=1).ids)


@cases()
@pytest.mark.parametrize("index", ["IndexRaBitQFastScan", "IndexRaBitQ", "IndexFlatIP"])
def bench_faiss(benchmark, one_thread, scale, case, index):
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    case = sized(case, scale)
    x, queries, _ = vectors(case)
    searched = getattr(faiss, index)(case.bits, *([] if index == "IndexFlatIP" else [faiss.METRIC_INNER_PRODUCT]))
    if index != "IndexFlatIP":
        searched.qb = 4
    searched.train(x.numpy())
    searched.add(x.numpy())
    measure(benchmark, case, f"FAISS {index}", lambda: searched.search(queries.numpy(), K)[1])
    assert searched.ntotal == len(x)
