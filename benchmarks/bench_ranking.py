"""Relevant items at each distance from each query, and by place in its ranking, by every kernel."""

from __future__ import annotations

import pytest
import torch

import fasthash as fh
from fasthash.ops.ranking import KERNELS, average_op

from .conftest import runnable

Q, N, N_LABELS = 1000, 54_000, 10
# Without the reference, which takes memory for every distance.
ROWS = {f"fasthash {name}": kernel for name, kernel in runnable(KERNELS, "reference").items()}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("several", [False, True], ids=["a class an item", "several labels an item"])
def bench_distance_counts(benchmark, name, several, scale):
    generator = torch.Generator().manual_seed(0)
    signs = [torch.randn(scale(rows, 50), 64, generator=generator) for rows in (Q, N)]
    if several:
        labels = [torch.rand(len(x), N_LABELS, generator=generator) < 2 / N_LABELS for x in signs]
    else:
        labels = [torch.randint(0, N_LABELS, (len(x),), generator=generator) for x in signs]
    queries, codes = map(fh.pack_bits, signs)
    kinds = "10 labels, several an item" if several else "10 classes"
    benchmark.group = f"items and relevant items by distance, {Q:,} x {N:,}, 64 bits, {kinds}"
    benchmark.extra_info.update(row=name, threads=fh._core.default_threads(), comparisons=Q * N, bytes=codes.nbytes)
    count = ROWS[name].function("distance_counts")
    totals, relevants = benchmark.pedantic(
        lambda: count(queries, codes, *labels, 0), rounds=3, iterations=1, warmup_rounds=1
    )
    few = KERNELS["reference"].function("distance_counts")(queries[:9], codes, labels[0][:9], labels[1], 0)
    assert torch.equal(totals[:9], few[0])
    assert torch.equal(relevants[:9], few[1])


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("k", [1000, N])
@pytest.mark.parametrize("similar", [False, True], ids=["in the order of the items", "by vectors"])
def bench_relevance_by_place(benchmark, name, k, similar, scale):
    generator = torch.Generator().manual_seed(0)
    signs = [torch.randn(scale(rows, 50), 64, generator=generator) for rows in (Q, N)]
    labels = [torch.randint(0, N_LABELS, (len(x),), generator=generator) for x in signs]
    retrieval = *map(fh.pack_bits, signs), *labels
    similarity = (*signs, 1 / signs[1].double().norm(dim=1)) if similar else (None, None, None)
    k = min(k, len(signs[1]))
    ties = "by 64 columns of float32" if similar else "in their order"
    benchmark.group = f"relevant items among the first {k:,}, {Q:,} x {N:,}, 64 bits, 10 classes, ties {ties}"
    benchmark.extra_info.update(
        row=name, threads=fh._core.default_threads(), comparisons=Q * N, bytes=retrieval[1].nbytes
    )
    place = ROWS[name].function("relevance_by_place")
    bits = benchmark.pedantic(
        lambda: place(*retrieval, *similarity, k, 64, -1, 0), rounds=2, iterations=1, warmup_rounds=1
    )
    few = (x if x is None else x[:9] for x in similarity[:1])
    plain = KERNELS["reference"].function("relevance_by_place")
    expected = plain(retrieval[0][:9], retrieval[1], labels[0][:9], labels[1], *few, *similarity[1:], k, 64, -1, 0)
    torch.testing.assert_close(average_op(bits[:9], 0), average_op(expected, 0))
