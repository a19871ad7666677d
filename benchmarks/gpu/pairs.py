"""All pairs on a GPU: checks against all distances and against a CPU's search, times beside it."""

from __future__ import annotations

import math

import torch

import fasthash as fh
from benchmarks.gpu.bench import Bench
from fasthash.ops.pairs import KERNELS
from fasthash.ops.pairs.plan import listed_bytes
from fasthash.ops.registry import choose


def clustered(bench: Bench, n: int, n_bits: int) -> torch.Tensor:
    """Codes of which many are near each other and some equal."""
    centres = bench.codes(max(1, n // 10), n_bits)
    flips = bench.normal(n, n_bits) > 2.5
    return centres[torch.arange(n, device=bench.device) % len(centres)] ^ fh.pack_bits(flips)


def assert_same(found: fh.HammingPairs, expected: fh.HammingPairs) -> None:
    for ours, right in zip(found, expected, strict=True):
        assert ours.dtype == right.dtype
        assert torch.equal(ours.cpu(), right.cpu())


def begun(bench: Bench, codes: torch.Tensor, radius: int, capacity: int, n_parts: int = 0):
    """Begin a search of the device's kernel, the way that it plans or by so many parts."""
    find = choose(KERNELS, bench.device, None, "pairs").function("pair_search")
    return find(codes, None, None, radius, 0, 0, capacity, 0, n_parts=n_parts)


def check_pairs(bench: Bench) -> None:
    n = bench.sized(20_000, 300)
    for n_bits, radius in ((8, 0), (64, 3), (64, 8), (72, 5), (256, 31), (256, 256 if bench.quick else 100)):
        codes = clustered(bench, n if n_bits > 8 else min(n, 2000), n_bits)
        chosen = torch.arange(len(codes), device=bench.device) % 3 > 0
        with bench.check(f"hamming_pairs, {len(codes)} codes of {n_bits} bits, radius {radius}: all distances"):
            assert_same(fh.hamming_pairs(codes, radius), fh.hamming_pairs(codes, radius, kernel="reference"))
            others = codes[::7].contiguous()
            for options in ({"others": others, "mask": chosen}, {"mask": chosen}, {"since": len(codes) // 2}):
                expected = fh.hamming_pairs(codes, radius, kernel="reference", **options)
                assert_same(fh.hamming_pairs(codes, radius, **options), expected)
    for n_parts in (-1, 4, 5):
        codes = clustered(bench, n, 64)
        with bench.check(f"hamming_pairs, {n_parts} parts, -1 for the scan: all distances, in passes"):
            search, parts = begun(bench, codes, 3, max(50, n // 20), n_parts), []
            while search.first < n:
                while not search.step():
                    pass
                parts.append(search.take())
            assert len(parts) > 1
            found = fh.HammingPairs(*map(torch.cat, zip(*parts, strict=True)))
            assert_same(found, fh.hamming_pairs(codes, 3, kernel="reference"))


def check_and_time_pairs(bench: Bench) -> None:
    check_pairs(bench)
    for n, n_bits, radius, made in (
        (10**7, 64, 3, "uniform"),
        (10**6, 64, 8, "uniform"),
        (10**6, 64, 3, "uniform"),
        (10**6, 64, 3, "clustered"),
        (10**5, 256, 31, "uniform"),
    ):
        n = bench.sized(n, 300)
        codes = bench.codes(n, n_bits) if made == "uniform" else clustered(bench, n, n_bits)
        on_cpu = codes.cpu()
        with bench.check(f"hamming_pairs, {n:,} {made} codes of {n_bits} bits, radius {radius}: a CPU's search"):
            assert_same(fh.hamming_pairs(codes, radius), fh.hamming_pairs(on_cpu, radius))
        group = f"pairs, {n:,} {made} codes of {n_bits} bits, radius {radius}"
        n_parts = begun(bench, codes, radius, 1).n_parts
        lists = 1 + (math.comb(n_parts, radius) if n_parts > 0 else 1)  # copies' and the tables'
        n_bytes = lists * n * listed_bytes(n_bits // 64)
        bench.time(group, "fasthash", lambda c=codes, r=radius: fh.hamming_pairs(c, r), n_bytes=n_bytes)
        bench.time(group, "fasthash on the CPU", lambda c=on_cpu, r=radius: fh.hamming_pairs(c, r))
