"""Search on a GPU: checks against counting, times beside torch's idiom and FAISS's, and what tuning.json is made of."""

from __future__ import annotations

import json
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import fasthash as fh
from benchmarks.gpu.bench import Bench
from fasthash.ops import hamming

K = 100
DISTANCES_PER_S = 1.5e12  # wanted at 64 bits and 1,024 queries


def searched(q: int, n: int, n_bits: int, k: int) -> str:
    """Name a search."""
    queries = "1 query" if q == 1 else f"{q:,} queries"
    return f"{queries}, {n:.0e} codes of {n_bits} bits, k={k}".replace("e+0", "e")


BITS_OF_BYTE = torch.tensor([bin(byte).count("1") for byte in range(256)], dtype=torch.int32)


def counted_topk(queries: torch.Tensor, codes: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Search by table look-up and torch.topk, query by query, part of the codes by part."""
    table, rows = BITS_OF_BYTE.to(codes.device), []
    part = 2**24
    for query in queries:
        best = torch.empty(0, dtype=torch.int64, device=codes.device)
        for first in range(0, len(codes), part):
            distances = table[(codes[first : first + part] ^ query).int()].sum(1)
            keys = distances << 40 | torch.arange(first, first + len(distances), device=codes.device)
            best = torch.cat([best, keys]).topk(min(k, len(best) + len(keys)), largest=False).values
        rows.append(best)
    keys = torch.stack(rows)
    return (keys >> 40).int(), keys & (2**40 - 1)


def torch_topk(queries: torch.Tensor, codes: torch.Tensor, n_bits: int, k: int) -> torch.Tensor:
    """The usual idiom: bits as +-1 in half precision, a matrix product and topk for a part of the codes at a time."""
    u, best = fh.unpack_bits(queries, n_bits).half(), None
    for part in codes.split(2**20):
        products = u @ fh.unpack_bits(part, n_bits).half().T
        values = products.topk(min(k, products.shape[1]), dim=1).values
        best = values if best is None else torch.cat([best, values], 1).topk(k, dim=1).values
    return ((n_bits - best) / 2).int()


def check_hamming(bench: Bench) -> None:
    n = bench.sized(10**7, 3000)
    for n_bits, k, q in ((16, 100, 70), (64, 1, 1), (64, 4096, 3), (72, 10, 200), (256, 1000, 64), (4096, 10, 2)):
        rows = max(2 * k, n * 64 // max(64, n_bits) // 4)
        codes, queries = bench.codes(rows, n_bits), bench.codes(q, n_bits, seed=1)
        with bench.check(f"hamming_topk, {n_bits} bits, {rows} codes, {q} queries, k={k}: counting, 3 queries"):
            distances, ids = hamming.hamming_topk(queries, codes, k)
            expected = counted_topk(queries[:3], codes, k)
            assert torch.equal(distances[:3], expected[0])
            assert torch.equal(ids[:3], expected[1])
        with bench.check(f"hamming_topk, {n_bits} bits, masked and all codes alike"):
            alike = codes[:1].repeat(rows, 1)
            mask = torch.arange(rows, device=bench.device) % 3 == 1
            distances, ids = hamming.hamming_topk(queries, alike, k, mask=mask)
            eligible = mask.nonzero()[:k, 0]
            assert torch.equal(ids[:, : len(eligible)], eligible.expand(q, -1))
            assert bool((ids[:, len(eligible) :] == -1).all())
    codes, queries = bench.codes(n, 64), bench.codes(3, 64, seed=1)
    with bench.check(f"hamming_radius and hamming_distance, 64 bits, {n} codes"):
        all_distances = hamming.hamming_distance(queries, codes)
        assert torch.equal(all_distances.sort(dim=1).values[:, :10], counted_topk(queries, codes, 10)[0])
        offsets, distances, ids = hamming.hamming_radius(queries, codes, 20)
        query = torch.repeat_interleave(torch.arange(3, device=bench.device), offsets.diff())
        assert torch.equal(all_distances[query, ids], distances)
        assert offsets[1:].tolist() == (all_distances <= 20).sum(1).cumsum(0).tolist()


def time_hamming(bench: Bench) -> None:
    n = bench.sized(10**9, 5000)
    codes, query = bench.codes(n, 64), bench.codes(1, 64, seed=1)
    group = searched(1, n, 64, K)
    with bench.check(f"hamming_topk, {group}: counting"):
        for got, expected in zip(hamming.hamming_topk(query, codes, K), counted_topk(query, codes, K), strict=True):
            assert torch.equal(got, expected)
    target = bench.target(H200=2.4, H100=3.4)  # as their memories compare
    bench.time(group, "fasthash", lambda: hamming.hamming_topk(query, codes, K), n_bytes=codes.nbytes, target_ms=target)
    del codes
    for n, q, n_bits in ((10**8, 1024, 64), (10**7, 1024, 64), (10**7, 1024, 256), (10**7, 32, 64), (10**6, 1, 64)):
        n, q = bench.sized(n, 3000), bench.sized(q, 40)
        codes, queries = bench.codes(n, n_bits), bench.codes(q, n_bits, seed=1)
        group = searched(q, n, n_bits, K)
        with bench.check(f"hamming_topk, {group}: counting, 16 queries"):
            hits = hamming.hamming_topk(queries, codes, K)
            sample = torch.arange(0, q, max(1, q // 16), device=bench.device)
            for got, expected in zip(hits, counted_topk(queries[sample], codes, K), strict=True):
                assert torch.equal(got[sample], expected)
        fast = 1e3 * n * q / DISTANCES_PER_S if n == 10**8 else None
        info = {"n_bytes": codes.nbytes, "target_ms": None if fast is None else bench.target(H200=fast, H100=fast)}
        bench.time(group, "fasthash", lambda q=queries, c=codes: hamming.hamming_topk(q, c, K), **info)
        if n <= 10**7:
            idiom = "torch: half-precision product and topk"
            bench.time(group, idiom, lambda q=queries, c=codes, b=n_bits: torch_topk(q, c, b, K), wanted="10 times")
            time_faiss(bench, group, codes, queries, K)


def time_streaming(bench: Bench) -> None:
    """Search codes in the memory of the CPU, which a GPU copies as it searches."""
    n = bench.sized(10**8, 3000)
    codes, queries = bench.codes(n, 64), bench.codes(bench.sized(1024, 20), 64, seed=1)
    expected = hamming.hamming_topk(queries, codes, K)
    kept = codes.cpu().pin_memory() if bench.device.type == "cuda" else codes
    halves = [codes[: n // 2], codes[n // 2 :]]
    group = f"{searched(len(queries), n, 64, K)}, by where the codes are"
    for name, given in (("one array on the device", codes), ("two arrays", halves), ("memory of the CPU", kept)):
        with bench.check(f"hamming_topk, {group}: {name}"):
            for got, right in zip(hamming.hamming_topk(queries, given, K), expected, strict=True):
                assert torch.equal(got, right)
        bench.time(group, name, lambda given=given: hamming.hamming_topk(queries, given, K))
    if bench.device.type == "cuda":
        some = kept[: n // 10]
        with bench.check("hamming_topk, 1,000 searches of codes in the memory of the CPU: no more memory than one"):
            hamming.hamming_topk(queries, some, K)
            reserved = torch.cuda.memory_reserved()
            for _ in range(1000):
                hamming.hamming_topk(queries[:8], some, K)
            assert torch.cuda.memory_reserved() <= reserved + 2**28, (
                f"{torch.cuda.memory_reserved() - reserved} bytes more"
            )


def time_filters(bench: Bench) -> None:
    """Time both filters at every width; write the table with the number of queries that parts them."""
    if bench.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return
    kernel_triton = import_module("fasthash.ops.hamming.kernel_triton")
    entries, numbers = [], (2,) if bench.quick else (4, 8, 16, 32, 64)
    for entry in kernel_triton.TUNING["default"][: 1 if bench.quick else None]:
        n_bits, slower = entry["up_to_bits"], [1]
        codes = bench.codes(bench.sized(10**9 // n_bits, 100), n_bits)
        for q in numbers:
            queries, rows = bench.codes(q, n_bits, seed=1), []
            for name, from_queries in (("popcount", 2**31), ("int8 product", 1)):
                forced = {**entry, "product": {**entry["product"], "from_queries": from_queries}}
                with mock.patch.object(kernel_triton, "_tuned", return_value=forced):
                    group = f"{searched(q, len(codes), n_bits, 10)}, by filter"
                    rows.append(
                        bench.time(group, name, lambda q=queries, c=codes: kernel_triton.hamming_topk(q, c, 10))
                    )
            if None in rows:
                return
            if rows[1].judged_ms >= rows[0].judged_ms:
                slower.append(q)
        entries.append({**entry, "product": {**entry["product"], "from_queries": 2 * max(slower)}})
    if bench.device.type == "cuda":
        write_tuning(bench.records.folder, torch.cuda.get_device_capability(bench.device), entries)


def write_tuning(folder: Path, capability: tuple[int, int], entries: list[dict[str, Any]]) -> None:
    """Write the kernels' table with the entries of a kind of device, to be put in its place."""
    kernel_triton = import_module("fasthash.ops.hamming.kernel_triton")
    table = {**kernel_triton.TUNING, "{}.{}".format(*capability): entries}
    (folder / "tuning.json").write_text(json.dumps(table, indent=2) + "\n")


def time_faiss(bench: Bench, group: str, codes: torch.Tensor, queries: torch.Tensor, k: int) -> None:
    """FAISS's search on a GPU, where a FAISS built for one is installed."""
    if find_spec("faiss") is None or bench.device.type != "cuda":
        return
    import faiss

    if not hasattr(faiss, "GpuIndexBinaryFlat"):
        return
    index = faiss.GpuIndexBinaryFlat(faiss.StandardGpuResources(), codes.shape[1] * 8)
    index.add(codes.cpu().numpy())
    asked = queries.cpu().numpy()
    bench.time(group, "FAISS GpuIndexBinaryFlat", lambda: index.search(asked, k))
