from __future__ import annotations

from functools import cache

import pytest
import torch

import fasthash as fh
from fasthash.ops.ranking import KERNELS, average_op, counts_op, places_op, weight_op
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


def ranked(queries, codes, query_labels, labels, query_vectors, vectors, scales, k, within, own):
    """One ranking after the other, sorted in Python: which of the first k items of each are relevant."""
    relevant = relevance(query_labels, labels)
    rows = []
    for i, query in enumerate(queries.tolist()):
        distances = [sum((a ^ b).bit_count() for a, b in zip(query, code, strict=True)) for code in codes.tolist()]
        similarity = [0.0] * len(distances)
        if vectors is not None:
            unit = query_vectors[i].double() / query_vectors[i].double().norm()
            similarity = [float((unit * x.double()).sum() * s) for x, s in zip(vectors, scales, strict=True)]
        items = [j for j in range(len(distances)) if own < 0 or j != own + i]
        items.sort(key=lambda j: (distances[j], -round(similarity[j], 7), j))
        rows.append([bool(relevant[i, j]) and distances[j] <= within for j in items[:k]])
    return rows


def directions(q, n, n_columns, dtype, seed=0):
    """Vectors of queries and items, some of those equal, and the scales that make cosines of their products."""
    generator = torch.Generator().manual_seed(seed)
    own, vectors = (torch.randn(rows, n_columns, generator=generator, dtype=dtype) for rows in (q, n))
    vectors[n // 3 : n // 2] = vectors[:1]
    return own, vectors, 1 / vectors.double().norm(dim=1)


def places(kernel, *arguments):
    tensors = [x for x in arguments if isinstance(x, torch.Tensor)]
    moved = iter(on_kernel_device(kernel, *tensors))
    found = kernel.function("relevance_by_place")(
        *(next(moved) if isinstance(x, torch.Tensor) else x for x in arguments), 0
    )
    assert found.dtype == torch.uint8
    return found.cpu()


def bits_of(rows, k):
    padded = torch.zeros(len(rows), -(-k // 8) * 8, dtype=torch.bool)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = torch.tensor(values, dtype=torch.bool)
    return fh.pack_bits(padded) if len(rows) and k else torch.zeros(len(rows), -(-k // 8), dtype=torch.uint8)


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


NONE = (None, None, None)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("n_labels", [None, 1, 5, 65])
@pytest.mark.parametrize("by", ["index", torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(3, 70, 8), (1, 1, 64), (5, 100, 72), (2, 9, 1024)], ids=str)
def test_places_are_those_of_a_sort(kernel, shape, by, n_labels):
    q, n, n_bits = shape
    given = sample(*shape, n_labels)
    similarity = NONE if by == "index" else directions(q, n, 3, by)
    for k, within, own in ((n, n_bits, -1), (min(n, 7), n_bits // 2, -1), (n - 1, n_bits, n - q)):
        if own >= 0 and n == 1:
            continue
        expected = bits_of(ranked(*given, *similarity, k, within, own), k)
        assert torch.equal(places(kernel, *given, *similarity, k, within, own), expected)


@cache
def rankings_of_many(n_bits, n_labels, n_columns):
    """Arguments of rankings of more items than a tile has, and the places that the reference finds."""
    q, n = 19, 5225
    given = sample(q, n, n_bits, n_labels)
    similarity = NONE if n_columns is None else directions(q, n, n_columns, torch.float32)
    cuts = (n, n_bits, -1), (n - 1, n_bits, 2500), (9, n_bits, 0), (n, n_bits // 2 - 1, 7), (700, 3, -1)
    arguments = [(*given, *similarity, *cut) for cut in cuts]
    return [(each, places(KERNELS["reference"], *each)) for each in arguments]


@pytest.mark.parametrize("n_labels", [None, 64])
@pytest.mark.parametrize("n_bits", [24, 64])
@pytest.mark.parametrize("n_columns", [None, 300])
@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_places_agree_with_the_reference_on_tiles_and_tasks(kernel, n_bits, n_labels, n_columns, monkeypatch):
    """Few items are looked at and all, in groups of every way of sorting, of queries alone and side by side."""
    monkeypatch.setattr("fasthash.ops.ranking.kernel_torch.DISTANCES_AT_ONCE", 50_000)
    for arguments, expected in rankings_of_many(n_bits, n_labels, n_columns):
        assert torch.equal(places(kernel, *arguments), expected)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("similar", [False, True])
def test_places_where_there_is_nothing(kernel, similar):
    for q, n, k in ((0, 5, 3), (3, 0, 0), (3, 5, 0)):
        similarity = (torch.zeros(q, 2), torch.zeros(n, 2), torch.ones(n).double()) if similar else NONE
        assert places(kernel, *sample(q, n, 16, None), *similarity, k, 16, -1).shape == (q, -(-k // 8))
    columns = (torch.zeros(3, 0), torch.zeros(5, 0), torch.ones(5).double()) if similar else NONE
    given = sample(3, 5, 16, None)
    expected = bits_of(ranked(*given, *NONE, 5, 16, -1), 5)
    assert torch.equal(places(kernel, *given, *columns, 5, 16, -1), expected)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_products_without_a_value_or_beyond_one_are_a_ranking_all_the_same(kernel):
    given = sample(2, 40, 8, None)
    own, vectors, _ = directions(2, 40, 3, torch.float64)
    vectors[5:9] = 1e300
    scales = torch.full((40,), 1e10, dtype=torch.float64)
    scales[7] = 0
    found = places(kernel, *given, own, vectors, scales, 40, 8, -1)
    assert torch.equal(fh.unpack_bits(found, 40).clamp(min=0).sum(1), relevance(*given[2:]).sum(1).float())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_places_do_not_depend_on_the_threads(threads):
    given = sample(50, 3000, 64, 5)
    for similarity in (NONE, directions(50, 3000, 7, torch.float32)):
        arguments = (*given, *similarity, 3000, 64, -1)
        assert torch.equal(places_op(*arguments, threads), places_op(*arguments, 2))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", [(5, 300), (3, 1), (2, 1027), (0, 4), (3, 0)], ids=str)
def test_averages_and_weights_of_places(kernel, shape, monkeypatch):
    monkeypatch.setattr("fasthash.ops.ranking.kernel_torch.DISTANCES_AT_ONCE", 4000)
    generator = torch.Generator().manual_seed(1)
    bits = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    bits[:1] = 0
    weights = torch.rand(shape[0], dtype=torch.float64, generator=generator)
    precisions, found = kernel.function("average_precision")(*on_kernel_device(kernel, bits), 0)
    sums = kernel.function("weight_by_place")(*on_kernel_device(kernel, bits, weights), 0).cpu()
    expected = torch.zeros(8 * shape[1], dtype=torch.float64)
    for i, row in enumerate(bits):
        set_at = [8 * j + bit for j, byte in enumerate(row.tolist()) for bit in range(8) if byte >> bit & 1]
        assert found[i] == len(set_at)
        shares = [(n + 1) / (place + 1) for n, place in enumerate(set_at)]
        assert precisions[i].item() == pytest.approx(sum(shares) / max(1, len(shares)), rel=1e-12)
        expected[set_at] += weights[i]
    torch.testing.assert_close(sums, expected, rtol=1e-12, atol=0)


def test_the_registered_ops_of_places():
    given, similarity = sample(3, 20, 24, 3), directions(3, 20, 4, torch.float32)
    for by in (NONE, similarity):
        opcheck(torch.ops.fasthash.relevance_by_place, (*given, *by, 11, 24, -1, 0))
    bits = places_op(*given, *NONE, 11, 24, -1, 0)
    opcheck(torch.ops.fasthash.average_precision, (bits, 0))
    opcheck(torch.ops.fasthash.weight_by_place, (bits, torch.ones(3, dtype=torch.float64), 0))
    assert average_op(bits, 0)[1].sum() == weight_op(bits, torch.ones(3, dtype=torch.float64), 0).sum()
