"""Mean average precision of a large database, beside the evaluation that many repositories share: a sort a query."""

from __future__ import annotations

import numpy as np
import pytest

import fasthash as fh
from fasthash.evaluate import mean_average_precision


def retrieval(rng, q, n, n_labels):
    """Codes of 64 bits that the labels have some influence on."""
    directions = rng.standard_normal((n_labels, 64), dtype=np.float32)
    parts = []
    for size in (q, n):
        labels = rng.random((size, n_labels)) < 2 / n_labels
        noise = 3 * rng.standard_normal((size, 64), dtype=np.float32)
        parts += [np.sign(labels.astype(np.float32) @ directions + noise), labels]
    return parts


def sort_each(query_signs, query_labels, signs, labels, at=None):
    """As it is widely written: float signs, and NumPy's sort of every query's distances."""
    values, labels = [], labels.astype(np.float32)
    for query, wanted in zip(query_signs, query_labels.astype(np.float32), strict=True):
        relevant = labels @ wanted > 0
        distances = 0.5 * (signs.shape[1] - signs @ query)
        places = np.flatnonzero(relevant[np.argsort(distances)][:at]) + 1
        values.append((np.arange(1, len(places) + 1) / places).mean() if len(places) else 0)
    return float(np.mean(values))


CASES = {"1,000 x 54,000, 10 labels": (1000, 54_000, 10), "5,000 x 117,000, 80 labels": (5000, 117_000, 80)}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["fasthash", "a sort each"])
@pytest.mark.parametrize("case", CASES)
def bench_mean_average_precision(benchmark, case, name, threads, rng, scale, monkeypatch):
    monkeypatch.setenv("FASTHASH_THREADS", str(threads))
    q, n, n_labels = CASES[case]
    if name != "fasthash" and (threads > 1 or q > 1000):
        pytest.skip("NumPy sorts on one thread, and the larger case takes it a minute")
    query_signs, query_labels, signs, labels = retrieval(rng, scale(q, 20), scale(n, 500), n_labels)
    packed = (fh.pack_bits(query_signs), query_labels, fh.pack_bits(signs), labels)
    benchmark.group = f"mean average precision, {case}, 64 bits" + (f", {threads} threads" if threads > 1 else "")
    benchmark.extra_info.update(row=name, threads=threads, comparisons=q * n, bytes=packed[2].nbytes)
    if name == "fasthash":
        value = benchmark.pedantic(lambda: mean_average_precision(*packed), rounds=5, warmup_rounds=1)
    else:
        value = benchmark.pedantic(lambda: sort_each(query_signs, query_labels, signs, labels), rounds=2, iterations=1)
    low, high = (mean_average_precision(*packed, ties=ties) for ties in ("pessimistic", "optimistic"))
    assert low <= value <= high


RULES = ("expected", "optimistic", "index", "cosine", "inner_product")
PLACES = {"the first 1,000": 1000, "all": None}


@pytest.mark.parametrize("name", [*RULES, "a sort each"])
@pytest.mark.parametrize("places", PLACES)
def bench_rules_for_ties(benchmark, name, places, rng, scale):
    q, n, n_labels = 2000, 200_000, 10
    query_signs, query_labels, signs, labels = retrieval(rng, scale(q, 20), scale(n, 500), n_labels)
    packed = (fh.pack_bits(query_signs), query_labels, fh.pack_bits(signs), labels)
    at = PLACES[places] and scale(PLACES[places], 100)
    settings = {"at": at}
    if name in ("cosine", "inner_product"):
        settings["query_embeddings"], settings["embeddings"] = (
            x * rng.random(x.shape, dtype=np.float32) for x in (query_signs, signs)
        )
    benchmark.group = f"mean average precision over {places}, 2,000 x 200,000, 64 bits, 10 labels"
    loop = name == "a sort each"
    row, threads = (name, 1) if loop else (f"fasthash, {name}", fh._core.default_threads())
    benchmark.extra_info.update(row=row, threads=threads, comparisons=q * n, bytes=packed[2].nbytes)
    if loop:
        value = benchmark.pedantic(
            lambda: sort_each(query_signs, query_labels, signs, labels, at), rounds=1, iterations=1
        )
    else:
        value = benchmark.pedantic(
            lambda: mean_average_precision(*packed, ties=name, **settings), rounds=3, iterations=1, warmup_rounds=1
        )
    low, high = (mean_average_precision(*packed, ties=ties, at=at) for ties in ("pessimistic", "optimistic"))
    assert low <= value <= high
