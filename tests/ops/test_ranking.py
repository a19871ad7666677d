from __future__ import annotations

import pytest
import torch

import fasthash as fh
from fasthash.ops.ranking import KERNELS, counts_op
from fasthash.ops.ranking.reference import relevance
from tests.conftest import on_kernel_device, opcheck, runnable


def sample(q, n, n_bits, n_labels, seed=0):
    """Codes, some of them equal and some at the largest distance, and classes or, with `n_labels`, labels."""
    generator = torch.Generator().manual_seed(seed)
    queries, codes = (
        torch.randint(0, 256, (rows, n_bits // 8), dtype=torch.uint8, generator=generator) for rows in (q, n)
    )
    if q and n:
        codes[: n // 2] = ~queries[0]
        codes[n // 2 : n // 2 + 3] = queries[-1]
    if n_labels is None:
        labels = [torch.randint(-2, 3, (rows,), generator=generator) for rows in (q, n)]
    else:
        labels = [torch.rand(rows, n_labels, generator=generator) < 2 / max(1, n_labels) for rows in (q, n)]
    return queries, codes, *labels


def counted(queries, codes, query_labels, labels):
    """One pair after the other, in Python."""
    totals = torch.zeros((len(queries), codes.shape[1] * 8 + 1), dtype=torch.int64)
    relevants = torch.zeros_like(totals)
    relevant = relevance(query_labels, labels)
    for i, query in enumerate(queries.tolist()):
        for j, code in enumerate(codes.tolist()):
            distance = sum((a ^ b).bit_count() for a, b in zip(query, code, strict=True))
            totals[i, distance] += 1
            relevants[i, distance] += relevant[i, j]
    return totals, relevants


def run(kernel, *tensors):
    found = kernel.function("distance_counts")(*on_kernel_device(kernel, *tensors), 0)
    assert all(counts.dtype == torch.int64 for counts in found)
    return [counts.cpu() for counts in found]


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("n_labels", [None, 0, 1, 5, 65])
@pytest.mark.parametrize("shape", [(3, 70, 8), (1, 1, 64), (5, 100, 72), (2, 9, 1024), (0, 5, 16), (3, 0, 16)], ids=str)
def test_kernels_agree_with_counting(kernel, shape, n_labels):
    given = sample(*shape, n_labels)
    for found, expected in zip(run(kernel, *given), counted(*given), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("n_labels", [None, 3, 64])
@pytest.mark.parametrize("n_bits", [24, 64])
def test_kernels_agree_with_the_reference_on_tiles_and_tasks(kernel, n_labels, n_bits, monkeypatch):
    monkeypatch.setattr("fasthash.ops.ranking.kernel_torch.DISTANCES_AT_ONCE", 50_000)
    given = sample(37, 6225, n_bits, n_labels)
    for found, expected in zip(run(kernel, *given), run(KERNELS["reference"], *given), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_any_strides_and_classes_beyond_32_bits(kernel):
    queries, codes, query_labels, labels = sample(6, 40, 128, None)
    views = queries[::2, ::2], codes[:, ::2], query_labels[::2] << 40, labels << 40
    expected = counted(queries[::2, ::2], codes[:, ::2], query_labels[::2], labels)
    for found, wanted in zip(run(kernel, *views), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_every_item_is_counted_once(kernel):
    given = sample(4, 333, 64, 5)
    totals, relevants = run(kernel, *given)
    assert (totals.sum(dim=1) == 333).all()
    assert torch.equal(relevants.sum(dim=1), relevance(*given[2:]).sum(dim=1))
    distances = fh.hamming_distance(*given[:2])
    assert torch.equal((totals * torch.arange(65)).sum(dim=1), distances.sum(dim=1))


def test_the_registered_op():
    for n_labels in (None, 3):
        opcheck(torch.ops.fasthash.distance_counts, (*sample(3, 20, 24, n_labels), 0))


def test_compiles_without_a_graph_break():
    torch.compiler.reset()
    given = sample(3, 20, 24, None)
    compiled = torch.compile(lambda *given: counts_op(*given, 0)[0] + 1, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*given), counts_op(*given, 0)[0] + 1)


@pytest.mark.parametrize("wide", ["queries", "items"])
@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_classes_beyond_32_bits_are_not_taken_for_others(kernel, wide):
    labels = {"queries": torch.tensor([1, 2]), "items": torch.tensor([1, 2, 3])}
    labels[wide] = labels[wide] + 2**32
    codes = torch.zeros(3, 2, dtype=torch.uint8)
    inputs = on_kernel_device(kernel, codes[:2], codes, labels["queries"], labels["items"])
    totals, relevants = kernel.function("distance_counts")(*inputs, 0)
    assert totals[:, 0].tolist() == [3, 3]
    assert relevants.sum() == 0
