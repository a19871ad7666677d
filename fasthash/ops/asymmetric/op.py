"""Exact search among packed codes by the inner product with real queries, quantised."""

from __future__ import annotations

from typing import NamedTuple

import torch

from fasthash.errors import check_codes, check_device, check_floating, check_integer, check_matrix, dtype_name
from fasthash.ops.arrays import Array, all_as_given, to_tensor
from fasthash.ops.declaration import declare
from fasthash.ops.hamming.hits import check_hits
from fasthash.ops.hamming.op import mask_bits, takes_codes_of_the_cpu, thread_count
from fasthash.ops.registry import Kernel, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.asymmetric.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.asymmetric.kernel_cpu"),
    "torch": Kernel("fasthash.ops.asymmetric.kernel_torch", ("cpu", "cuda")),
    "triton": Kernel("fasthash.ops.asymmetric.kernel_triton", ("cuda",), package="triton"),
}

MAX_QUERY_BITS = 8


class ScoredHits(NamedTuple):
    """The codes of the largest score of each query.

    Attributes:
        scores: float32 or float64 [q, k], descending; -inf where fewer than k codes are eligible, and where they are
            beyond the dtype.
        ids: int64 [q, k], among equal scores in the order of the codes; -1 where fewer than k codes are eligible.
    """

    scores: Array
    ids: Array


def asymmetric_topk(
    projections: Array,
    codes: Array,
    k: int,
    *,
    bits: int = 4,
    factors: Array | None = None,
    offsets: Array | None = None,
    mask: Array | None = None,
    threads: int | None = None,
    kernel: str | None = None,
) -> ScoredHits:
    """Find the k codes of the largest inner product with every real query, exactly for queries of so many bits.

    The codes are signs s in {-1, +1}, a bit that is 1 being +1; the queries are what a hasher's `transform` gives, of
    which it takes the signs as codes. A query x becomes integers w = round(x L / max|x|), L = 2^(bits - 1) - 1, and a
    code's score is scale * sum_b w_b s_b with scale = max|x| / L. It is off the inner product of x and s by at most
    sum_b |x_b - scale w_b| <= n_bits scale / 2, and the rounding of floating-point numbers. With one bit w is the sign
    of x, -1 for 0, and scale max|x|: the order is that of the Hamming distance.

    With factors f or offsets o of the codes a score is f * (scale * sum_b w_b s_b) + o, rounded at every step in the
    dtype of scores. Where codes and queries are of vectors y and x in the same rotation, f = |y|^2 / sum_b |y_b| is
    RaBitQ's estimate of their inner product; that divided by |y| orders by the cosine; and twice that, with o = -|y|^2,
    by the distance, whose square is about |x|^2 less the score. Factors that are alike and not negative are fastest.

    Equal sums, or scores, are ordered by the lower id, so the answer is the same on every machine, with any kernel and
    any number of threads. Codes that are NumPy arrays or CPU tensors in C order are read where they lie. A search on a
    CPU releases the GIL, may run in several Python threads at once, and stops at Ctrl-C.

    Args:
        projections: of any floating-point dtype of 16 bits or more, finite, [q, n_bits].
        codes: packed codes, uint8 [n, ceil(n_bits / 8)] in `pack_bits` order, on the same device; spare bits are passed
            over. For projections on a GPU they may also be in the memory of the CPU, as for `hamming_topk`.
        k: how many hits a query gets, at least 1; may exceed n.
        bits: of a query's number, 1 to 8. A search takes a time proportional to about bits - 1.
        factors: of the codes, float32 [n], finite.
        offsets: of the codes, float32 [n], finite.
        mask: the eligible codes: bool [n], or the same as bits, uint8 [ceil(n / 8)] in `pack_bits` order.
        threads: CPU threads; by default FASTHASH_THREADS, else the processors this process may use, by its affinity and
            its container's quota.
        kernel: a name from `fasthash.ops.asymmetric.KERNELS`; by default the best one for the device.

    Returns:
        `ScoredHits(scores, ids)` of shape [q, k], tensors if `projections` is one, else NumPy arrays; scores in float64
        if the projections are, else in float32. Where fewer than k codes are eligible, rows end in score -inf and id
        -1. A hit's score may be infinite, too, where projections are so large that it is beyond the dtype; with factors
        it is -inf where it would be infinity times 0. Whether there is a hit is told by the id.

    Raises:
        TypeError: if an argument has the wrong dtype.
        ValueError: if shapes, widths, devices, k or bits do not fit, or a projection, factor or offset is not finite.

    Source: Gao, Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound", 2024, for the
    quantised query.
    """
    where = "asymmetric_topk"
    k = check_integer(where, "k", k, 1)
    bits = check_integer(where, "bits", bits, 1, MAX_QUERY_BITS)
    x, c = to_tensor(where, "projections", projections).detach(), to_tensor(where, "codes", codes)
    check_floating(where, "projections", x)
    check_matrix(where, "projections", x, "n_bits")
    check_codes(where, "codes", c)
    width = c.shape[1]
    if -(-x.shape[1] // 8) != width:
        raise ValueError(
            f"{where}: expected projections of {8 * width - 7} to {8 * width} columns for codes of {width} bytes, got "
            f"{x.shape[1]}"
        )
    if not (takes_codes_of_the_cpu(kernel) and x.device.type == "cuda" and c.device.type == "cpu"):
        check_device(where, "projections", x, c.device)
    n_threads = thread_count(where, threads)
    check_hits(where, k, x)
    eligible = None if mask is None else mask_bits(where, mask, len(c), c.device)
    of_codes = numbers_of_codes(where, factors, offsets, len(c), c.device)
    found = topk_op(x, c, k, bits, eligible, n_threads, *of_codes, kernel=kernel)
    return ScoredHits(*all_as_given(found, projections))


def numbers_of_codes(
    where: str, factors: Array | None, offsets: Array | None, n: int, device: torch.device
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return factors and offsets of n codes on a device as tensors, or None for none."""
    return _numbers(where, "factors", factors, n, device), _numbers(where, "offsets", offsets, n, device)


def _numbers(where: str, name: str, given: Array | None, n: int, device: torch.device) -> torch.Tensor | None:
    if given is None:
        return None
    x = to_tensor(where, name, given).detach()
    if x.dtype != torch.float32:
        raise TypeError(f"{where}: expected {name} of dtype float32, got {dtype_name(x)}")
    if list(x.shape) != [n]:
        raise ValueError(f"{where}: expected {name} of shape {[n]}, one a code, got {list(x.shape)}")
    check_device(where, name, x, device)
    return x


def _topk_fake(
    projections: torch.Tensor,
    codes: torch.Tensor,
    k: int,
    bits: int,
    mask: torch.Tensor | None,
    threads: int,
    factors: torch.Tensor | None = None,
    offsets: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (projections.shape[0], k)
    dtype = torch.promote_types(projections.dtype, torch.float32)
    return projections.new_empty(shape, dtype=dtype), projections.new_empty(shape, dtype=torch.int64)


topk_op = declare(
    "asymmetric_topk(Tensor projections, Tensor codes, SymInt k, int bits, Tensor? mask, int threads, "
    "Tensor? factors=None, Tensor? offsets=None) -> (Tensor, Tensor)",
    KERNELS,
    _topk_fake,
)
