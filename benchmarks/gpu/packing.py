"""Packing on a GPU."""

from __future__ import annotations

import torch

import fasthash as fh
from benchmarks.gpu.bench import Bench
from fasthash.ops import packing

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_and_time_masks(bench: Bench) -> None:
    n = bench.sized(2**32 + 40, 5000)  # more than 32 bits count
    with bench.check(f"pack_bits, a mask of {n:,} codes"):
        mask = torch.randint(0, 2, (n,), dtype=torch.bool, device=bench.device)
        bits = packing.pack_bits(mask[None])[0]
        for part in (slice(0, 96), slice(n // 2 // 8 * 8, n // 2 // 8 * 8 + 96), slice(n // 8 * 8 - 96, n)):
            packed = bits[part.start // 8 : (part.stop + 7) // 8]
            assert torch.equal(fh.unpack_bits(packed[None], part.stop - part.start)[0] > 0, mask[part])
    mask = mask[: bench.sized(10**9, 5000)]
    group = f"pack_bits, a mask of {len(mask):,} codes"
    bench.time(group, "fasthash", lambda: packing.pack_bits(mask[None]), n_bytes=len(mask) * 9 // 8, share=0.7)


def check_and_time_packing(bench: Bench) -> None:
    check_and_time_masks(bench)
    x = bench.normal(bench.sized(10**6, 500), 130)
    for dtype in DTYPES:
        with bench.check(f"pack_bits and unpack_bits, {list(x.shape)} {dtype}"):
            signs = torch.where(x.to(dtype) > 0, 1.0, -1.0)
            assert torch.equal(packing.unpack_bits(packing.pack_bits(x.to(dtype)), 130), signs)
    for dtype in DTYPES:
        x = bench.normal(bench.sized(10**7, 500), 64, dtype=dtype)
        group = f"pack_bits, {len(x):,} x 64 {dtype}".replace("torch.", "")
        bench.time(group, "fasthash", lambda x=x: packing.pack_bits(x), n_bytes=x.nbytes + 8 * len(x), share=0.7)
        bench.time(group, "torch: a comparison, and sums of bits", lambda x=x: packed_by_torch(x))
    x, projection = bench.normal(bench.sized(10**6, 300), 512), bench.normal(512, 64)
    with bench.check(f"pack_projections, {list(x.shape)} to 64 bits: signs of float64 beyond rounding"):
        exact = x.double() @ projection.double()
        bits = fh.unpack_bits(packing.pack_projections(x, projection), 64)
        assert bool(((bits > 0) == (exact > 0))[exact.abs() > 1e-2].all())
    group = f"pack_projections, {len(x):,} x 512 float32 to 64 bits"
    bench.time(group, "fasthash", lambda: packing.pack_projections(x, projection), n_bytes=x.nbytes + 8 * len(x))
    bench.time(group, "torch: product, comparison, sums of bits", lambda: packed_by_torch(x @ projection))


def packed_by_torch(x: torch.Tensor) -> torch.Tensor:
    """The usual idiom, for whole bytes."""
    weights = 1 << torch.arange(8, dtype=torch.uint8, device=x.device)
    return ((x > 0).unflatten(1, (-1, 8)) * weights).sum(2, dtype=torch.uint8)
