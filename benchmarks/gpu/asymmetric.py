"""Asymmetric search on a GPU: checks against all sums, times beside products of matrices and the Hamming search."""

from __future__ import annotations

import torch

import fasthash as fh
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.hamming import searched
from fasthash.ops.asymmetric import reference

K = 10


def checked(bench: Bench, x: torch.Tensor, codes: torch.Tensor, k: int, bits: int, mask: torch.Tensor | None) -> None:
    """Compare with all sums, of a few of the queries."""
    found = fh.asymmetric_topk(x, codes, k, bits=bits, mask=mask)
    sample = torch.arange(0, len(x), max(1, len(x) // 3), device=bench.device)
    expected = reference.asymmetric_topk(x[sample], codes, k, bits, mask)
    for got, right in zip(found, expected, strict=True):
        assert torch.equal(got[sample], right)


def time_asymmetric(bench: Bench) -> None:
    rows = bench.sized(10**6, 500)
    for n_bits, q, k, bits in ((64, 3, 10, 4), (200, 64, 100, 8), (384, 1, 1, 1), (768, 200, 10, 4), (4096, 2, 10, 8)):
        n, q = max(2 * k, min(rows, rows * 384 // n_bits)), bench.sized(q, min(q, 9))
        codes, x = bench.codes(n, -(-n_bits // 8) * 8), bench.normal(q, n_bits)
        with bench.check(f"asymmetric_topk, {n_bits} bits, {n} codes, {q} queries of {bits} bits, k={k}: all sums"):
            checked(bench, x, codes, k, bits, None)
            checked(bench, x, codes, k, bits, torch.arange(n, device=bench.device) % 3 == 1)
    for n, q, n_bits in ((10**8, 1, 384), (10**7, 1, 384), (10**7, 8, 384), (10**7, 1024, 384), (10**7, 1024, 768)):
        n, q = bench.sized(n, 500), bench.sized(q, 9)
        codes, x = bench.codes(n, n_bits), bench.normal(q, n_bits)
        group = f"asymmetric, 4 bits, {searched(q, n, n_bits, K)}"
        bench.time(group, "fasthash", lambda x=x, c=codes: fh.asymmetric_topk(x, c, K), n_bytes=codes.nbytes)
        signs = fh.pack_bits(x)
        bench.time(group, "Hamming search", lambda s=signs, c=codes: fh.hamming_topk(s, c, K))
        if n <= 10**7:
            products = "torch: float32 products"
            bench.time(group, products, lambda x=x, c=codes: fh.asymmetric_topk(x, c, K, kernel="torch"))
