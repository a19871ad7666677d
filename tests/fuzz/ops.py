"""Sound calls of the ops, and their answers in plain NumPy."""

from __future__ import annotations

from random import Random

import numpy as np
import torch

from fasthash.ops import asymmetric, hamming, householder, packing, wasserstein
from tests.fuzz.calls import Call, close, equal, option, same_form, target, value_of
from tests.fuzz.values import array, at_least_one, numbers, seed, some_rows

WIDTHS = (1, 2, 3, 4, 8, 9, 16, 33)  # bytes of a code
INTEGERS = ("bool", "uint8", "int8", "int16", "int64")
ORDER = {"bitorder": "'big'"}
FLOATING = ("float32", "float64", "float16")


def kernel_option(r: Random, room) -> dict[str, str]:
    """A kernel of the processor that needs no compiling, or none."""
    names = [name for name, kernel in room.KERNELS.items() if "cpu" in kernel.devices and not kernel.package]
    ready = [name for name in names if not room.KERNELS[name].missing()]
    return option(r, {"kernel": repr(r.choice(ready))}, 0.5)


def codes(r: Random, n: int, n_bytes: int) -> str:
    return array(r, f"packed({seed(r)}, {n}, {n_bytes})")


def real(r: Random, *shape: int, dtype: str | None = None) -> str:
    sizes = ", ".join(map(str, shape))
    return array(r, f"floats({seed(r)}, {sizes}, dtype={(dtype or r.choice(FLOATING))!r})")


def distances(queries, codes):
    """Hamming distances [q, n] in plain NumPy."""
    q, c = numbers(queries), numbers(codes)
    assert q.dtype == c.dtype == np.uint8
    assert q.ndim == c.ndim == 2
    return np.unpackbits(q[:, None] ^ c[None], axis=2).sum(2).astype(np.int32)


def eligible(mask, n):
    """Which codes may be hits, bool [n]."""
    if mask is None:
        return np.ones(n, bool)
    m = numbers(mask)
    assert m.shape == ((n,) if m.dtype == bool else ((n + 7) // 8,))
    return m if m.dtype == bool else np.unpackbits(m, bitorder="little")[:n].astype(bool)


def nearest(found, k, chosen, ids):
    """Distances and ids of the k nearest of [q, n], ties in the order of the codes."""
    q, k = len(found), int(np.asarray(k))
    best = np.full((q, k), hamming.NO_DISTANCE, np.int32), np.full((q, k), -1, np.int64)
    for row, line in enumerate(found):
        order = np.argsort(line, kind="stable")
        order = order[chosen[order]][:k]
        best[0][row, : len(order)], best[1][row, : len(order)] = line[order], ids[order]
    return best


def within(found, radius, chosen, ids, max_hits=None, exclude=None):
    """Offsets, distances and ids of the hits of a radius among [q, n]."""
    assert max_hits is None or int(max_hits) > 0
    others = [-1] * len(found) if exclude is None else numbers(exclude).tolist()
    rows = []
    for line, other in zip(found, others, strict=True):
        order = np.argsort(line, kind="stable")
        order = order[chosen[order] & (line[order] <= int(radius)) & (ids[order] != other)]
        rows.append(order[: None if max_hits is None else int(max_hits)])
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    order = np.concatenate([np.empty(0, np.int64), *rows])
    at = np.repeat(np.arange(len(rows)), np.diff(offsets))
    return offsets, found[at, order], ids[order]


def radius_options(r: Random, n_queries: int, n_ids: int) -> dict[str, str]:
    """How many hits queries get, and which they do not."""
    exclude = array(r, f"integers({seed(r)}, {n_ids + 2}, {n_queries}) - 1")
    return option(r, {"max_hits": str(r.choice((1, 2, 5, 10**9))), "exclude": exclude})


def mask_of(r: Random, n: int) -> str:
    flags = f"integers({seed(r)}, 2, {n}, dtype=bool)"
    return array(r, r.choice((flags, f"np.packbits({flags}, bitorder='little')")))


@target("fasthash.pack_bits")
def pack_bits(r: Random) -> Call:
    def check(result, x, bitorder="little", kernel=None):
        same_form(result, x)
        assert numbers(x).ndim == 2
        equal(result, np.packbits(numbers(x) > 0, axis=1, bitorder=bitorder))

    x = real(r, some_rows(r), r.choice((0, 1, 7, 8, 9, 64, 70)))
    if r.random() < 0.3:
        x = f"integers({seed(r)}, 2, {some_rows(r)}, 19, dtype={r.choice(INTEGERS)!r})"
    return Call(
        "fh.pack_bits", "pack_bits", {"x": x, **option(r, ORDER), **kernel_option(r, packing)}, check, arrays=("x",)
    )


@target("fasthash.unpack_bits")
def unpack_bits(r: Random) -> Call:
    def check(result, codes, n_bits, bitorder="little"):
        same_form(result, codes)
        bits = np.unpackbits(numbers(codes), axis=1, bitorder=bitorder)
        assert numbers(codes).shape[1] == (int(n_bits) + 7) // 8
        equal(result, bits[:, : int(n_bits)].astype(np.float32) * 2 - 1)

    width = r.choice(WIDTHS)
    arguments = {"codes": codes(r, some_rows(r), width), "n_bits": str(8 * width - r.randrange(8)), **option(r, ORDER)}
    return Call("fh.unpack_bits", "unpack_bits", arguments, check, arrays=("codes",))


@target("fasthash.pack_projections")
def pack_projections(r: Random) -> Call:
    def check(result, x, projection, offset=None, bitorder="little", kernel=None):
        same_form(result, x)
        x, projection = numbers(x).astype(float), numbers(projection).astype(float)
        offset = np.zeros(projection.shape[1]) if offset is None else numbers(offset).astype(float)
        assert offset.shape == projection.shape[1:]
        sides = x @ projection - offset
        reach = 1e-4 * (np.abs(x) @ np.abs(projection) + np.abs(offset)) + 1e-6
        bits = np.unpackbits(numbers(result), axis=1, bitorder=bitorder)
        assert bits.shape[1] == -(-projection.shape[1] // 8) * 8
        assert not bits[:, projection.shape[1] :].any()
        sure = np.abs(sides) > reach
        np.testing.assert_array_equal(bits[:, : projection.shape[1]][sure], (sides > 0)[sure])

    d, b = r.choice((1, 3, 8, 20)), r.choice((1, 7, 8, 19, 64))
    as_tensor = "tensor({})" if r.random() < 0.5 else "{}"
    made = (
        f"floats({seed(r)}, {shape}, dtype={r.choice(FLOATING)!r})"
        for shape in (f"{some_rows(r)}, {d}", f"{d}, {b}", b)
    )
    x, projection, offset = (as_tensor.format(each) for each in made)
    arguments = {
        "x": x,
        "projection": projection,
        **option(r, {"offset": offset, **ORDER}, 0.5),
        **kernel_option(r, packing),
    }
    return Call("fh.pack_projections", "pack_projections", arguments, check, arrays=("x", "projection", "offset"))


@target("fasthash.hamming_distance")
def hamming_distance(r: Random) -> Call:
    def check(result, queries, codes, threads=None, kernel=None):
        same_form(result, queries)
        equal(result, distances(queries, codes))

    width = r.choice(WIDTHS)
    arguments = {
        **{"queries": codes(r, some_rows(r), width), "codes": codes(r, some_rows(r), width)},
        **option(r, {"threads": "2"}),
        **kernel_option(r, hamming),
    }
    return Call("fh.hamming_distance", "hamming_distance", arguments, check, arrays=("queries", "codes"))


@target("fasthash.hamming_topk")
def hamming_topk(r: Random) -> Call:
    def check(result, queries, codes, k, mask=None, threads=None, kernel=None):
        if isinstance(codes, (list, tuple)):
            codes = np.concatenate([numbers(x) for x in codes])
        for x in result:
            same_form(x, queries)
        found = distances(queries, codes)
        expected = nearest(found, k, eligible(mask, found.shape[1]), np.arange(found.shape[1]))
        equal(result.distances, expected[0])
        equal(result.ids, expected[1])

    width, n = r.choice(WIDTHS), some_rows(r)
    searched = codes(r, n, width)
    if r.random() < 0.2:
        parts = [some_rows(r) for _ in range(r.randint(1, 3))]
        n, searched = sum(parts), f"[{', '.join(codes(r, m, width) for m in parts)}]"
    arguments = {
        **{"queries": codes(r, some_rows(r), width), "codes": searched, "k": str(r.choice((1, 2, 5, 20)))},
        **option(r, {"mask": mask_of(r, n), "threads": "2"}),
        **kernel_option(r, hamming),
    }
    arrays = ("queries", "mask") if searched[0] == "[" else ("queries", "codes", "mask")
    return Call("fh.hamming_topk", "hamming_topk", arguments, check, arrays=arrays, sizes=("k",))


@target("fasthash.asymmetric_topk")
def asymmetric_topk(r: Random) -> Call:
    def check(result, projections, codes, k, bits=4, factors=None, offsets=None, mask=None, threads=None, kernel=None):
        for x in result:
            same_form(x, projections)
        x, c = numbers(projections), numbers(codes)
        x = x.astype(np.promote_types(x.dtype, np.float32))
        assert x.shape[1] <= 8 * c.shape[1] < x.shape[1] + 8
        assert np.isfinite(x).all()
        largest, levels = np.abs(x).max(1, initial=0), x.dtype.type(max(1, 2 ** (int(bits) - 1) - 1))
        weights = np.rint(x / np.where(largest > 0, largest, 1)[:, None] * levels).astype(np.int64)
        weights = np.where(x > 0, 1, -1) if int(bits) == 1 else weights
        signs = np.unpackbits(c, axis=1, bitorder="little", count=x.shape[1]).astype(np.int64) * 2 - 1
        scores = (weights @ signs.T).astype(x.dtype) * (largest / levels)[:, None]
        for numbers_of_codes, apply in ((factors, np.multiply), (offsets, np.add)):
            if numbers_of_codes is not None:
                y = numbers(numbers_of_codes)
                assert (y.dtype.kind, y.itemsize) == ("f", 4)
                assert y.shape == (len(c),)
                assert np.isfinite(y).all()
                scores = apply(scores, y.astype(x.dtype))
        chosen, n_hits = eligible(mask, len(c)), int(np.asarray(k))
        for i, line in enumerate(scores):
            order = np.argsort(-line, kind="stable")
            order = order[chosen[order]][:n_hits]
            missing = n_hits - len(order)
            equal(result.ids[i], np.append(order, [-1] * missing).astype(np.int64))
            equal(result.scores[i], np.append(line[order], [-np.inf] * missing).astype(x.dtype))

    width, n = r.choice(WIDTHS), some_rows(r)
    arguments = {
        "projections": real(r, some_rows(r), 8 * width - r.randrange(8)),
        "codes": codes(r, n, width),
        "k": str(r.choice((1, 2, 5, 20))),
        **option(
            r,
            {
                "bits": str(r.randint(1, 8)),
                "factors": real(r, n, dtype="float32"),
                "offsets": real(r, n, dtype="float32"),
                "mask": mask_of(r, n),
                "threads": "2",
            },
        ),
        **kernel_option(r, asymmetric),
    }
    arrays = ("projections", "codes", "factors", "offsets", "mask")
    return Call("fh.asymmetric_topk", "asymmetric_topk", arguments, check, arrays=arrays, sizes=("k",))


@target("fasthash.hamming_radius")
def hamming_radius(r: Random) -> Call:
    def check(result, queries, codes, radius, max_hits=None, exclude=None, mask=None, threads=None, kernel=None):
        for x in result:
            same_form(x, queries)
        found = distances(queries, codes)
        n = found.shape[1]
        wanted = within(found, radius, eligible(mask, n), np.arange(n), max_hits, exclude)
        for x, expected in zip(result, wanted, strict=True):
            equal(x, expected)

    width, n, q = r.choice(WIDTHS), some_rows(r), some_rows(r)
    arguments = {
        **{"queries": codes(r, q, width), "codes": codes(r, n, width), "radius": str(r.randint(0, 8 * width))},
        **radius_options(r, q, n),
        **option(r, {"mask": mask_of(r, n), "threads": "2"}),
        **kernel_option(r, hamming),
    }
    arrays = ("queries", "codes", "mask", "exclude")
    return Call("fh.hamming_radius", "hamming_radius", arguments, check, arrays=arrays)


def reflections(v):
    """The product of Householder reflections, float64 [k, k]."""
    v = numbers(v).astype(float)
    assert v.ndim == 2
    assert np.isfinite(v).all()
    u = np.eye(v.shape[1])
    for row in v / np.abs(v).max(1, keepdims=True):
        u = u @ (np.eye(len(row)) - 2 * np.outer(row, row) / (row @ row))
    return u


def tolerance(result) -> float:
    return 3e-2 if result.dtype in (torch.bfloat16, torch.float16, np.float16) else 1e-4


@target("fasthash.householder_product")
def householder_product(r: Random) -> Call:
    def check(result, v, kernel=None):
        same_form(result, v)
        close(result, reflections(v), tolerance(result))

    k = at_least_one(r)
    arguments = {"v": real(r, r.randint(1, k), k), **kernel_option(r, householder)}
    return Call("fh.householder_product", "householder_product", arguments, check, arrays=("v",))


@target("fasthash.householder_apply")
def householder_apply(r: Random) -> Call:
    def check(result, x, v, transpose=False, kernel=None):
        same_form(result, x)
        u = reflections(v)
        if finite(x):
            close(result, numbers(x).astype(float) @ (u if transpose else u.T), tolerance(result))

    k, dtype = at_least_one(r), r.choice(FLOATING)
    arguments = {"x": real(r, some_rows(r), k, dtype=dtype), "v": real(r, r.randint(1, k), k, dtype=dtype)}
    arguments |= {**option(r, {"transpose": "True"}, 0.5), **kernel_option(r, householder)}
    return Call("fh.householder_apply", "householder_apply", arguments, check, arrays=("x", "v"))


POWERS = ("1", "2", "1.5", "3")


def cost(difference, p, root):
    with np.errstate(all="ignore"):
        loss = np.mean(np.abs(difference) ** float(p))
    return loss ** (1 / float(p)) if root else loss


def quantiles(x, y):
    """The sorted columns of two samples, rows repeated to as many."""
    x, y = np.sort(numbers(x).astype(float), axis=0), np.sort(numbers(y).astype(float), axis=0)
    return np.repeat(x, len(y), axis=0), np.repeat(y, len(x), axis=0)


def finite(*arrays) -> bool:
    return all(np.isfinite(numbers(x).astype(float)).all() for x in arrays)


def moderate(p, *arrays) -> bool:
    """Whether powers of the numbers are numbers, in half precision too."""
    return finite(*arrays) and float(p) < 4


@target("fasthash.hswd")
def hswd(r: Random) -> Call:
    def check(result, x, p=2, target="balanced", values=(-1, 1), root=False, generator=None, kernel=None):
        same_form(result, x)
        if not moderate(p, x):
            return
        low, high = map(float, values)
        y = np.repeat([[low], [high]], len(x), axis=0)
        if target == "balanced":
            close(result, cost(np.subtract(*quantiles(x, y)), p, root), tolerance(result))
        else:
            assert float(numbers(result)) >= 0

    arguments = {
        "x": real(r, at_least_one(r), at_least_one(r)),
        **option(r, {"p": r.choice(POWERS), "values": "(0, 1)", "root": "True", "target": "'bernoulli'"}),
        **option(r, {"generator": "torch.Generator().manual_seed(3)"}),
        **kernel_option(r, wasserstein),
    }
    return Call("fh.hswd", "hswd", arguments, check, arrays=("x",))


@target("fasthash.wasserstein_1d")
def wasserstein_1d(r: Random) -> Call:
    def check(result, x, y, p=2, root=False, kernel=None):
        same_form(result, x)
        if moderate(p, x, y):
            close(result, cost(np.subtract(*quantiles(x, y)), p, root), tolerance(result))

    m, dtype = at_least_one(r), r.choice(FLOATING)
    arguments = {
        **{"x": real(r, at_least_one(r), m, dtype=dtype), "y": real(r, at_least_one(r), m, dtype=dtype)},
        **option(r, {"p": r.choice(POWERS), "root": "True"}),
        **kernel_option(r, wasserstein),
    }
    return Call("fh.wasserstein_1d", "wasserstein_1d", arguments, check, arrays=("x", "y"))


@target("fasthash.sliced_wasserstein")
def sliced_wasserstein(r: Random) -> Call:
    def check(result, x, y, n_projections, p=2, root=False, generator=None, kernel=None):
        same_form(result, x)
        if not moderate(p, x, y):
            return
        if generator is None:
            assert float(numbers(result)) >= 0
            return
        wide = torch.float64 if numbers(x).dtype.newbyteorder("=") == np.float64 else torch.float32
        again = torch.Generator().manual_seed(generator.initial_seed())
        d = torch.randn(np.shape(x)[1], int(n_projections), dtype=wide, generator=again)
        x, y, d = (numbers(each).astype(float) for each in (x, y, d / d.norm(dim=0)))
        close(result, cost(np.subtract(*quantiles(x @ d, y @ d)), p, root), max(tolerance(result), 1e-3))

    m, dtype = at_least_one(r), r.choice(FLOATING)
    arguments = {
        **{"x": real(r, at_least_one(r), m, dtype=dtype), "y": real(r, at_least_one(r), m, dtype=dtype)},
        **{"n_projections": str(at_least_one(r))},
        **option(r, {"p": r.choice(POWERS), "root": "True"}),
        **option(r, {"generator": f"torch.Generator().manual_seed({seed(r)})"}, 0.7),
        **kernel_option(r, wasserstein),
    }
    return Call(
        "fh.sliced_wasserstein", "sliced_wasserstein", arguments, check, arrays=("x", "y"), sizes=("n_projections",)
    )


@target("fasthash.merge_hits")
def merge_hits(r: Random) -> Call:
    """Of shards, whose hits together are those of one search."""
    n_bytes, q, sizes = r.choice(WIDTHS), some_rows(r), [some_rows(r) for _ in range(at_least_one(r))]
    queries = f"packed({seed(r)}, {q}, {n_bytes})"
    all_codes, cuts = f"packed({seed(r)}, {sum(sizes)}, {n_bytes})", np.cumsum(sizes)[:-1].tolist()
    k = r.choice((None, 1, 4, 30))
    sought = "hamming_radius(queries, part, 2)" if k is None else f"hamming_topk(queries, part, {k})"
    shards = (
        f"queries, every = {queries}, {all_codes}; first = {[0, *cuts]}; "
        f"parts = [fh.{sought} for part in np.split(every, {cuts})]; "
        "parts = [x._replace(ids=np.where(x.ids < 0, -1, x.ids + i)) for x, i in zip(parts, first)]"
    )

    def check(result, parts, k=None):
        found = distances(value_of(queries), value_of(all_codes))
        everything, ids = np.ones(found.shape[1], bool), np.arange(found.shape[1])
        if isinstance(result, hamming.RadiusHits):
            expected = within(found, 2, everything, ids)
        else:
            width = parts[0].ids.shape[1]
            expected = nearest(found, width, everything, ids)
            k = width if k is None else int(np.asarray(k))
            assert result.ids.shape == (len(found), k)
            result, expected = ([x[:, : min(k, width)] for x in hits] for hits in (result, expected))
        for ours, theirs in zip(result, expected, strict=True):
            equal(ours, theirs)

    arguments = {"parts": "parts"} if k is None else {"parts": "parts", **option(r, {"k": str(k)}, 0.7)}
    return Call("fh.merge_hits", "merge_hits", arguments, check, before=shards, sizes=("k",))
