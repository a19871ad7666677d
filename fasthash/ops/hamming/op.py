"""Exact search among packed binary codes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from fasthash.errors import (
    MAX_BITS,
    check_codes,
    check_device,
    check_integer,
    check_same_width,
    check_values,
    dtype_name,
)
from fasthash.ops.arrays import Array, all_as_given, as_given, to_tensor, typed_if_empty
from fasthash.ops.declaration import declare
from fasthash.ops.hamming.hits import Hits, RadiusHits, check_hits, nearest_of
from fasthash.ops.hamming.radius_parts import Found, Sought, radius_hits
from fasthash.ops.packing.op import pack_bits_op
from fasthash.ops.registry import Kernel, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.hamming.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.hamming.kernel_cpu"),
    "numba": Kernel("fasthash.ops.hamming.kernel_numba", ("cpu",), package="numba"),
    "triton": Kernel("fasthash.ops.hamming.kernel_triton", ("cuda",), package="triton"),
}


def hamming_distance(queries: Array, codes: Array, *, threads: int | None = None, kernel: str | None = None) -> Array:
    """Return the Hamming distance between every query and every code.

    Args:
        queries: packed codes, uint8 [q, n_bits / 8].
        codes: packed codes, uint8 [n, n_bits / 8], on the same device.
        threads: CPU threads; by default FASTHASH_THREADS, else the processors this process may use, by its affinity and
            its container's quota.
        kernel: a name from `fasthash.ops.hamming.KERNELS`; by default the best one for the device.

    Returns:
        int32 [q, n], a tensor if `queries` is one, else a NumPy array.

    Raises:
        TypeError: if an argument is not uint8 codes.
        ValueError: if shapes, widths or devices do not fit.
    """
    where = "hamming_distance"
    q, c, n_threads = check_search(where, queries, codes, threads)
    return as_given(distance_op(q, c, n_threads, kernel=kernel), queries)


def hamming_topk(
    queries: Array,
    codes: Array | Sequence[Array],
    k: int,
    *,
    mask: Array | None = None,
    threads: int | None = None,
    kernel: str | None = None,
) -> Hits:
    """Find the k nearest codes of every query, exactly.

    Equal distances are ordered by the lower id, so the answer is the same on every machine, with any kernel and any
    number of threads. NumPy arrays and CPU tensors in C order are read where they lie, memory-mapped ones too; others
    are copied once. Memory beside the codes is O(q k), never O(q n). A search on a CPU releases the GIL, may run in
    several Python threads at once, and stops at Ctrl-C.

    Args:
        queries: packed codes, uint8 [q, n_bits / 8].
        codes: packed codes, uint8 [n, n_bits / 8], on the same device. For queries on a GPU they may also be in the
            memory of the CPU, of any size: they are copied in chunks, and in pinned memory the next chunk is copied
            while one is searched. A list or tuple of such arrays is searched as if they were one, each on the GPU it
            lies on, in its current stream, all GPUs at the same time, or else where the queries are.
        k: how many hits a query gets, at least 1; may exceed n.
        mask: the eligible codes: bool [n], or the same as bits, uint8 [ceil(n / 8)] in `pack_bits` order; where the
            codes are, or anywhere for a list of codes.
        threads: CPU threads; by default FASTHASH_THREADS, else the processors this process may use, by its affinity and
            its container's quota.
        kernel: a name from `fasthash.ops.hamming.KERNELS`; by default the best one for the device.

    Returns:
        `Hits(distances, ids)` of shape [q, k], tensors if `queries` is one, else NumPy arrays. Where fewer than k codes
        are eligible, rows end in distance 2^31 - 1 and id -1.

    Raises:
        TypeError: if an argument has the wrong dtype.
        ValueError: if shapes, widths, devices or k do not fit.
    """
    where = "hamming_topk"
    k = check_integer(where, "k", k, 1)
    if isinstance(codes, (list, tuple)):
        found = _topk_of_shards(where, queries, codes, k, mask, threads, kernel)
    else:
        q, c, n_threads = check_search(where, queries, codes, threads, from_cpu=takes_codes_of_the_cpu(kernel))
        check_hits(where, k, q)
        bits = None if mask is None else mask_bits(where, mask, len(c), c.device)
        found = topk_op(q, c, k, bits, n_threads, kernel=kernel)
    return Hits(*all_as_given(found, queries))


def _topk_of_shards(
    where: str,
    queries: Array,
    codes: Sequence[Array],
    k: int,
    mask: Array | None,
    threads: int | None,
    kernel: str | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Search each of several arrays of codes and merge the hits; ids count through them."""
    if not codes:
        raise ValueError(f"{where}: expected codes of at least one array, got an empty {type(codes).__name__}")
    q = to_tensor(where, "queries", queries)
    check_codes(where, "queries", q)
    check_hits(where, k, q)
    shards = [to_tensor(where, f"codes[{i}]", shard) for i, shard in enumerate(codes)]
    for i, shard in enumerate(shards):
        check_codes(where, f"codes[{i}]", shard)
        check_same_width(where, "queries", q, f"codes[{i}]", shard)
    n_threads = thread_count(where, threads)
    starts = [0, *itertools.accumulate(map(len, shards))]
    flags = None if mask is None else mask_flags(_check_mask(where, mask, starts[-1]), starts[-1])
    devices = [q.device if shard.device.type == "cpu" else shard.device for shard in shards]
    if not takes_codes_of_the_cpu(kernel):
        for shard, device in zip(shards, devices, strict=True):
            check_device(where, "queries", q.to(device), shard.device)
    # Copies between devices are this thread's, and so are the streams: others begin on default ones.
    asked = {device: q.to(device) for device in devices}
    streams = {device: torch.cuda.current_stream(device) if device.type == "cuda" else None for device in devices}
    masks = [
        None if flags is None else mask_bits(where, flags[i:j].to(shard.device), j - i, shard.device)
        for shard, (i, j) in zip(shards, itertools.pairwise(starts), strict=True)
    ]

    def search(
        shard: torch.Tensor, device: torch.device, bits: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.cuda.stream(streams[device]):
            hits: tuple[torch.Tensor, torch.Tensor] = topk_op(
                asked[device], shard, k, bits, n_threads, kernel=kernel, where=where
            )
        return hits

    if len(asked) == 1:
        found = list(map(search, shards, devices, masks))
    else:
        with ThreadPoolExecutor(len(shards)) as pool:
            found = list(pool.map(search, shards, devices, masks))
    found = [(distances.to(q.device), ids.to(q.device)) for distances, ids in found]
    ids = [torch.where(part < 0, -1, part + first) for (_, part), first in zip(found, starts, strict=False)]
    return nearest_of([part for part, _ in found], ids, k)


def hamming_radius(
    queries: Array,
    codes: Array,
    radius: int,
    *,
    max_hits: int | None = None,
    exclude: Array | None = None,
    mask: Array | None = None,
    threads: int | None = None,
    kernel: str | None = None,
) -> RadiusHits:
    """Find every code at most `radius` bits from each query, or the nearest of them.

    Memory beside the codes is that of the result on a CPU, 12 bytes a hit, at most a tenth more and 64 MiB a thread;
    with `max_hits`, hits beyond these take none, whatever their number. A search on a CPU releases the GIL, may run in
    several Python threads at once, and stops at Ctrl-C.

    Args:
        queries: packed codes, uint8 [q, n_bits / 8].
        codes: packed codes, uint8 [n, n_bits / 8], on the same device.
        radius: the largest distance that counts as a hit, at least 0.
        max_hits: how many hits a query gets at most, at least 1: the nearest, at equal distances those of lower ids.
        exclude: for each query an id that is no hit of it, integers [q], -1 for none: 0 to n - 1 where the queries are
            the codes.
        mask: the eligible codes: bool [n], or the same as bits, uint8 [ceil(n / 8)] in `pack_bits` order.
        threads: CPU threads; by default FASTHASH_THREADS, else the processors this process may use, by its affinity and
            its container's quota.
        kernel: a name from `fasthash.ops.hamming.KERNELS`; by default the best one for the device.

    Returns:
        `RadiusHits(offsets, distances, ids)`, each query's hits sorted by (distance, id); tensors if `queries` is one,
        else NumPy arrays.

    Raises:
        TypeError: if an argument has the wrong dtype.
        ValueError: if shapes, widths, devices or the radius do not fit.
    """
    where = "hamming_radius"
    radius = check_integer(where, "radius", radius, 0)
    q, c, n_threads = check_search(where, queries, codes, threads)
    bits = None if mask is None else mask_bits(where, mask, len(c), c.device)
    most = None if max_hits is None else check_integer(where, "max_hits", max_hits, 1)
    own = None if exclude is None else _check_excluded(where, exclude, len(q))
    search = _RowSearch(c, bits, n_threads, kernel)
    return RadiusHits(*all_as_given(radius_hits(search, Sought(q, min(radius, MAX_BITS), most, own)), queries))


@dataclass(frozen=True, eq=False)
class _RowSearch:
    """A search of rows for `hamming_radius`."""

    codes: torch.Tensor
    mask: torch.Tensor | None
    threads: int
    kernel: str | None
    where: ClassVar[str] = "hamming_radius"

    @property
    def n_codes(self) -> int:
        """How many codes there are."""
        return len(self.codes)

    def nearest(self, queries: torch.Tensor, k: int, max_distance: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and ids [q, k]."""
        inputs = queries, self.codes, k, self.mask, self.threads, max_distance
        distances, ids = topk_op(*inputs, kernel=self.kernel, where=self.where)
        return distances, ids

    def within(self, queries: torch.Tensor, radius: int) -> Found:
        """Return offsets, distances and ids."""
        inputs = queries, self.codes, radius, self.mask, self.threads
        offsets, distances, ids = radius_op(*inputs, kernel=self.kernel, where=self.where)
        return offsets, distances, ids


def _check_excluded(where: str, exclude: Array, n_queries: int) -> torch.Tensor:
    """Return an id a query, int64 [q] in the memory of the CPU."""
    ids = to_tensor(where, "exclude", typed_if_empty(exclude, np.int64))
    check_values(where, "exclude", ids)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{where}: expected exclude of an integer dtype, got {dtype_name(ids)}")
    if list(ids.shape) != [n_queries]:
        raise ValueError(f"{where}: expected exclude of shape {[n_queries]}, an id a query, got {list(ids.shape)}")
    return torch.from_numpy(np.ascontiguousarray(ids.cpu().numpy(), np.int64))


def check_search(
    where: str, queries: Array, codes: Array, threads: int | None, from_cpu: bool = False
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return queries and codes as tensors that fit each other, and the number of threads, 0 by default.

    With `from_cpu`, codes in the memory of the CPU fit queries on a GPU.
    """
    q, c = to_tensor(where, "queries", queries), to_tensor(where, "codes", codes)
    check_codes(where, "queries", q)
    check_codes(where, "codes", c)
    check_same_width(where, "queries", q, "codes", c)
    if not (from_cpu and q.device.type == "cuda" and c.device.type == "cpu"):
        check_device(where, "queries", q, c.device)
    return q, c, thread_count(where, threads)


def takes_codes_of_the_cpu(kernel: str | None) -> bool:
    """Return whether a kernel, by default a GPU's own, searches codes in the memory of the CPU for queries on a GPU."""
    return kernel is None or (isinstance(kernel, str) and kernel == "triton")


def thread_count(where: str, threads: int | None) -> int:
    """Return the number of threads that the core is asked for, 0 by default."""
    return 0 if threads is None else check_integer(where, "threads", threads, 1, 4096)


def mask_bits(where: str, mask: Array, n: int, device: torch.device) -> torch.Tensor:
    """Return the mask of n codes on a device as bits, uint8 [ceil(n / 8)]."""
    m = _check_mask(where, mask, n)
    check_device(where, "mask", m, device)
    if m.dtype == torch.uint8:
        return m
    packed: torch.Tensor = pack_bits_op(m[None])[0]
    return packed


def mask_flags(mask: torch.Tensor, n: int) -> torch.Tensor:
    """Return a mask, bool [n] or bits, as bool [n]."""
    if mask.dtype == torch.bool:
        return mask
    bits = (mask[:, None] >> torch.arange(8, dtype=torch.uint8, device=mask.device)) & 1
    return bits.flatten()[:n].bool()


def _check_mask(where: str, mask: Array, n: int) -> torch.Tensor:
    m = to_tensor(where, "mask", typed_if_empty(mask, np.bool_))
    if m.dtype not in (torch.bool, torch.uint8):
        raise TypeError(f"{where}: expected mask of dtype bool [n] or uint8 [ceil(n / 8)], got {dtype_name(m)}")
    expected = [n] if m.dtype == torch.bool else [(n + 7) // 8]
    if list(m.shape) != expected:
        raise ValueError(f"{where}: expected mask of shape {expected} for {n} codes, got {list(m.shape)}")
    return m


def _distance_fake(queries: torch.Tensor, codes: torch.Tensor, threads: int) -> torch.Tensor:
    return queries.new_empty((queries.shape[0], codes.shape[0]), dtype=torch.int32)


def _topk_fake(
    queries: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    mask: torch.Tensor | None,
    threads: int,
    max_distance: int = MAX_BITS,
) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.int32), queries.new_empty(shape, dtype=torch.int64)


def _radius_fake(
    queries: torch.Tensor, codes: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    n_hits: Any = torch.library.get_ctx().new_dynamic_size()
    return (
        queries.new_empty((queries.shape[0] + 1,), dtype=torch.int64),
        queries.new_empty((n_hits,), dtype=torch.int32),
        queries.new_empty((n_hits,), dtype=torch.int64),
    )


distance_op = declare("hamming_distance(Tensor queries, Tensor codes, int threads) -> Tensor", KERNELS, _distance_fake)
topk_op = declare(
    "hamming_topk(Tensor queries, Tensor codes, SymInt k, Tensor? mask, int threads, "
    f"int max_distance={MAX_BITS}) -> (Tensor, Tensor)",
    KERNELS,
    _topk_fake,
)
radius_op = declare(
    "hamming_radius(Tensor queries, Tensor codes, int radius, Tensor? mask, int threads) -> (Tensor, Tensor, Tensor)",
    KERNELS,
    _radius_fake,
)
