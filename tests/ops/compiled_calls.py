"""Every call of the compiled core that lets go of the GIL, on inputs that several threads share out."""

from __future__ import annotations

from functools import partial

import numpy as np

from fasthash import _core


def compiled_calls(threads):
    """Return functions by name, each of which makes a call and returns the arrays and numbers it gives."""
    rng = np.random.default_rng(0)
    codes, queries = (rng.integers(0, 256, (n, 8), dtype=np.uint8) for n in (20_000, 200))
    labels = rng.integers(0, 9, (1, 20_000), dtype=np.int32), rng.integers(0, 9, (200, 1), dtype=np.int32)
    x, v = rng.standard_normal((1100, 128)), rng.standard_normal((64, 128))
    rows = (x[:, :16] * 4 / np.linalg.norm(x[:, :16], axis=1, keepdims=True)).astype(np.float32)
    tables = _core.MultiIndexTables(codes, 64, 0, True, 1)
    half = np.full(128, 550)
    vectors = [rng.standard_normal((n, 12), dtype=np.float32) for n in (200, 20_000)]
    places = rng.integers(0, 256, (400, 10_000), dtype=np.uint8)

    def into(function, *arguments):
        """Call with new arrays for those given as (shape, dtype), and return them."""
        given = [np.empty(*a) if isinstance(a, tuple) else a for a in arguments]
        returned = function(*given)
        return [x for x, a in zip(given, arguments, strict=True) if isinstance(a, tuple)] + [returned]

    def train():
        trainer = _core.H2QTrainer(
            rows, rows[:50].copy(), np.stack([v[:16, :16], v[16:32, :16]]).astype(np.float32), "l2", "adam", 0.01,
            True, True, 3, 64, 0, 0,
        )  # fmt: skip
        trainer.train(3, threads)
        return [trainer.history(0), trainer.best(1)]

    def build():
        return [_core.MultiIndexTables(codes, 64, 4, True, threads).keys]

    def pairs(n_parts):
        search = _core.PairSearch(codes, None, None, 9, 0, 0, 100, n_parts, threads, "")
        found = []
        while search.first < len(codes):
            while not search.step():
                pass
            found += search.take()
        return found

    ids = rng.permutation(20_000)
    full = np.full(32_768, -1)
    _core.id_map_insert(full, ids, 0, None, None, "")

    def insert():
        table = np.full(32_768, -1)
        return [_core.id_map_insert(table, ids, 0, None, None, ""), table]

    hits = ((200, 9), np.int32), ((200, 9), np.int64)
    rotated = ((1100, 128), float), ((1100, 64), float), ((64, 64), float)
    triangle = into(_core.householder_apply, x, v, False, *rotated, 1, "")[1:3]
    return {
        "hamming_distance": partial(
            into, _core.hamming_distance, queries, codes, ((200, 20_000), np.int32), threads, ""
        ),
        "hamming_topk": partial(into, _core.hamming_topk, queries, codes, 9, None, *hits, threads, ""),
        "hamming_radius": partial(_core.hamming_radius, queries, codes, 25, None, threads, ""),
        "id_map_insert": insert,
        "id_map_find": partial(
            into, _core.id_map_find, full, ids, None, ids[::-1].copy(), (20_000, np.int64), threads, ""
        ),
        "MultiIndexTables": build,
        "MultiIndexTables.topk": partial(into, tables.topk, queries, codes, 9, None, 0, *hits, None, threads, ""),
        "MultiIndexTables.radius": partial(tables.radius, queries, codes, 9, None, threads, ""),
        "PairSearch by tables": partial(pairs, 11),
        "PairSearch by the scan": partial(pairs, -1),
        "distance_counts": partial(
            into, _core.distance_counts, queries, codes, labels[1], labels[0], False, ((200, 65), np.int64),
            ((200, 65), np.int64), threads, "",
        ),
        "relevance_by_place": partial(
            into, _core.relevance_by_place, queries, codes, labels[1], labels[0], False, None, None, None,
            20_000, 64, -1, ((200, 2500), np.uint8), threads, "",
        ),
        "relevance_by_place of similar vectors": partial(
            into, _core.relevance_by_place, queries, codes, labels[1], labels[0], False, *vectors, np.full(20_000, 0.1),
            500, 64, -1, ((200, 63), np.uint8), threads, "",
        ),
        "average_precision": partial(
            into, _core.average_precision, places, (400, np.int64), (400, float), threads
        ),
        "weight_by_place": partial(into, _core.weight_by_place, places, np.arange(400.0), (80_000, float), threads),
        "pack_bits": partial(
            into, _core.pack_bits, np.tile(x, 3), "float64", ((1100, 48), np.uint8), threads, ""
        ),
        "pack_projections": partial(
            into, _core.pack_projections, x, np.tile(v.T, 8), None, ((1100, 64), np.uint8), threads, ""
        ),
        "two_point_cost": partial(
            into, _core.two_point_cost, x, half, 0.5, -1.0, 1.0, 2.0, ((1100, 128), float), 1.0, threads, ""
        ),
        "sorted_cost": partial(
            into, _core.sorted_cost, x, x[::-1], 2.0, ((1100, 128), float), ((1100, 128), float), 1.0, threads
        ),
        "householder_apply": partial(into, _core.householder_apply, x, v, False, *rotated, threads, ""),
        "householder_backward": partial(
            into, _core.householder_backward, x, x, v, *triangle, False, ((1100, 128), float), ((64, 128), float),
            threads, "",
        ),
        "H2QTrainer.train": train,
    }  # fmt: skip
