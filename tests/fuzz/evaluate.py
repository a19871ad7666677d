"""Sound calls of the metrics, and their values by sorting."""

from __future__ import annotations

from random import Random

import numpy as np

from tests.fuzz.calls import Call, close, option, same_form, target
from tests.fuzz.ops import FLOATING, ORDER, WIDTHS, distances
from tests.fuzz.values import array, at_least_one, numbers, seed

RETRIEVAL = ("query_codes", "query_labels", "codes", "labels")
EMBEDDINGS = ("query_embeddings", "embeddings")


def retrieval(r: Random) -> tuple[dict[str, str], int, int]:
    q, n, width = at_least_one(r), at_least_one(r), r.choice(WIDTHS)
    shape, high = (", 4", 2) if r.random() < 0.3 else ("", 3)
    dtype = r.choice(("int64", "int64", "int32", "uint8", "uint16") + ("bool",) * (high == 2))
    made = (
        f"packed({seed(r)}, {q}, {width})",
        f"integers({seed(r)}, {high}, {q}{shape}, dtype={dtype!r})",
        f"packed({seed(r)}, {n}, {width})",
        f"integers({seed(r)}, {high}, {n}{shape}, dtype={dtype!r})",
    )
    return {name: array(r, x) for name, x in zip(RETRIEVAL, made, strict=True)}, q, n


def ranked(r: Random, arguments: dict[str, str], q: int, n: int) -> dict[str, str]:
    arguments |= option(r, {"ties": repr(r.choice(("expected", "optimistic", "pessimistic", "index")))}, 0.7)
    if r.random() < 0.2:
        arguments["ties"] = repr(r.choice(("cosine", "inner_product")))
        for name, rows in zip(EMBEDDINGS, (q, n), strict=True):
            arguments[name] = array(r, f"floats({seed(r)}, {rows}, 3, dtype={r.choice(FLOATING)!r})")
    return arguments


def relevance(query_labels, labels):
    q, n = numbers(query_labels), numbers(labels)
    if q.ndim == 1:
        assert q.dtype.kind in "iub"
        assert n.dtype.kind in "iub"
        return q[:, None] == n
    assert q.shape[1] > 1
    assert set(np.unique(q)) | set(np.unique(n)) <= {0, 1}
    return q.astype(int) @ n.astype(int).T > 0


def codes_of(x):
    """Packed codes, also of -1 and +1."""
    x = numbers(x)
    if x.dtype == np.uint8:
        return x
    assert x.dtype.kind in "if"
    assert set(np.unique(x)) <= {-1, 1}
    return np.packbits(x > 0, axis=1, bitorder="little")


def rankings(query_codes, query_labels, codes, labels, ties="expected", query_embeddings=None, embeddings=None):
    """The relevance of each query's items in the order of a rule for ties, and where groups of ties end."""
    query_codes, codes = map(codes_of, (query_codes, codes))
    found, relevant = distances(query_codes, codes), relevance(query_labels, labels)
    assert relevant.shape == found.shape
    by_embeddings = ties in ("cosine", "inner_product")
    assert by_embeddings == (query_embeddings is not None) == (embeddings is not None)
    second = {"optimistic": -relevant.astype(float), "pessimistic": relevant.astype(float)}.get(ties, 0 * found)
    if by_embeddings:
        u, v = (numbers(x).astype(float) for x in (query_embeddings, embeddings))
        lengths = np.linalg.norm(v, axis=1) if ties == "cosine" else 1
        second = -(u @ v.T) / np.maximum(np.linalg.norm(u, axis=1)[:, None] * lengths, 1e-12)
    order = np.lexsort((second, found), axis=1)
    return np.take_along_axis(relevant, order, 1), np.take_along_axis(found, order, 1)


def average_precision(relevant, k):
    row = relevant[:k]
    return ((row.cumsum() / np.arange(1, len(row) + 1))[row]).mean() if row.any() else 0.0


def expected_average_precision(relevant, found):
    """Over all orders of the ties, of the whole ranking; see `fasthash/evaluate/README.md`."""
    total = 0.0
    for distance in np.unique(found):
        before, group = found < distance, found == distance
        t, s, seen, count = group.sum(), relevant[group].sum(), before.sum(), relevant[before].sum()
        i = np.arange(t)
        total += (s / t * (count + 1 + i * (s - 1) / max(t - 1, 1)) / (seen + 1 + i)).sum()
    return total / relevant.sum() if relevant.any() else 0.0


def mean(values, answered, unanswered):
    assert unanswered in ("zero", "skip")
    assert unanswered == "zero" or answered.any()
    return np.mean(np.where(answered, values, 0)) if unanswered == "zero" else np.mean(np.asarray(values)[answered])


def comparable(arguments) -> bool:
    """Whether every embedding has a direction."""
    given = [numbers(arguments[name]).astype(float) for name in EMBEDDINGS if arguments.get(name) is not None]
    return all(np.isfinite(x).all() and x.any(1).all() and 0 not in x.shape for x in given)


@target("fasthash.evaluate.mean_average_precision")
def mean_average_precision(r: Random) -> Call:
    def check(result, at=None, unanswered="zero", **arguments):
        assert isinstance(result, float)
        if not comparable(arguments):
            return
        relevant, found = rankings(**arguments)
        k = found.shape[1] if at is None or int(at) == -1 else int(at)
        answered = relevant.any(1)
        if arguments.get("ties", "expected") != "expected":
            averages = [average_precision(row, k) for row in relevant]
        elif k == found.shape[1]:
            averages = [expected_average_precision(*row) for row in zip(relevant, found, strict=True)]
        else:
            assert 0 <= result <= 1  # cut through ties: compared with every order in tests/evaluate
            return
        close(result, mean(averages, answered, unanswered), 1e-9)

    arguments, q, n = retrieval(r)
    arguments = ranked(r, arguments, q, n) | option(r, {"at": str(r.randint(1, n))}, 0.4)
    return Call(
        "fh.evaluate.mean_average_precision", "mean_average_precision", arguments, check, arrays=RETRIEVAL + EMBEDDINGS
    )


def found_in_top(k, arguments):
    """How many relevant items are among the first k of each query, or are expected; and of all."""
    relevant, found = rankings(**arguments)
    if arguments.get("ties", "expected") == "expected":
        for row, line in zip(relevant, found, strict=True):
            yield (
                sum(
                    row[line == x].mean() * np.clip(k - (line < x).sum(), 0, (line == x).sum()) for x in np.unique(line)
                ),
                row,
            )
    else:
        yield from ((row[:k].sum(), row) for row in relevant)


@target("fasthash.evaluate.precision_at")
def precision_at(r: Random) -> Call:
    def check(result, k, **arguments):
        if comparable(arguments):
            close(result, np.mean([found / int(k) for found, _ in found_in_top(int(k), arguments)]), 1e-9)

    arguments, q, n = retrieval(r)
    arguments = {"k": str(r.randint(1, n)), **ranked(r, arguments, q, n)}
    return Call("fh.evaluate.precision_at", "precision_at", arguments, check, arrays=RETRIEVAL + EMBEDDINGS)


@target("fasthash.evaluate.recall_at")
def recall_at(r: Random) -> Call:
    def check(result, k, unanswered="zero", **arguments):
        if comparable(arguments):
            found, rows = zip(*found_in_top(int(k), arguments), strict=True)
            of = np.array([row.sum() for row in rows])
            close(result, mean(np.array(found) / np.maximum(of, 1), of > 0, unanswered), 1e-9)

    arguments, q, n = retrieval(r)
    arguments = {"k": str(r.randint(1, n)), **ranked(r, arguments, q, n)}
    return Call("fh.evaluate.recall_at", "recall_at", arguments, check, arrays=RETRIEVAL + EMBEDDINGS)


@target("fasthash.evaluate.precision_within")
def precision_within(r: Random) -> Call:
    def check(result, radius, unanswered="zero", **arguments):
        relevant, found = rankings(**arguments)
        near = found <= int(radius)
        close(result, mean((near & relevant).sum(1) / np.maximum(near.sum(1), 1), near.any(1), unanswered), 1e-9)

    arguments = {"radius": str(r.randint(0, 8)), **retrieval(r)[0]}
    return Call("fh.evaluate.precision_within", "precision_within", arguments, check, arrays=RETRIEVAL)


@target("fasthash.evaluate.precision_recall_curve")
def precision_recall_curve(r: Random) -> Call:
    def check(result, **arguments):
        relevant, found = rankings(**arguments)
        for x in result:
            same_form(x, arguments["query_codes"])
        radii = np.arange(8 * np.shape(arguments["codes"])[1] + 1)[:, None, None]
        near = (found <= radii).sum(2)
        right = ((found <= radii) & relevant).sum(2)
        precision = [
            (right[i] / np.maximum(near[i], 1))[near[i] > 0].mean() if near[i].any() else np.nan for i in radii.flat
        ]
        close(result.precision, precision, 1e-9)
        answered = relevant.any(1)
        close(result.recall, (right / np.maximum(relevant.sum(1), 1))[:, answered].mean(1), 1e-9)

    arguments = retrieval(r)[0]
    n = arguments["codes"].split(", ")[1]
    q = arguments["query_codes"].split(", ")[1]
    if r.random() < 0.5:
        arguments |= {"query_labels": f"np.arange({q}) % 3", "labels": f"np.arange({n}) % 3"}
    else:
        arguments |= {"query_labels": f"np.ones(({q}, 4), int)", "labels": f"tensor(np.ones(({n}, 4), bool))"}
    return Call("fh.evaluate.precision_recall_curve", "precision_recall_curve", arguments, check, arrays=RETRIEVAL)


@target("fasthash.evaluate.precision_recall_by_rank")
def precision_recall_by_rank(r: Random) -> Call:
    def check(result, at=None, **arguments):
        for x in result:
            same_form(x, arguments["query_codes"])
        n = np.shape(arguments["codes"])[0]
        k = n if at is None or int(at) == -1 else int(at)
        assert [len(x) for x in result] == [k, k]
        if comparable(arguments):
            for place in {1, k}:
                found, rows = zip(*found_in_top(place, arguments), strict=True)
                of = np.array([row.sum() for row in rows])
                close(numbers(result.precision)[place - 1], np.mean(found) / place, 1e-9)
                close(numbers(result.recall)[place - 1], (np.array(found)[of > 0] / of[of > 0]).mean(), 1e-9)

    arguments, q, n = retrieval(r)
    arguments = ranked(r, arguments, q, n) | option(r, {"at": str(r.randint(1, n))}, 0.4)
    arguments |= {"query_labels": f"np.arange({q}) * 0", "labels": f"np.arange({n}) % 3"}
    name = "precision_recall_by_rank"
    return Call(f"fh.evaluate.{name}", name, arguments, check, arrays=RETRIEVAL + EMBEDDINGS)


@target("fasthash.evaluate.quantization_angle")
def quantization_angle(r: Random) -> Call:
    def check(result, u):
        u = numbers(u).astype(float)
        assert u.ndim == 2
        if np.isfinite(u).all() and u.any(1).all():
            cosines = np.abs(u).sum(1) / np.linalg.norm(u, axis=1) / u.shape[1] ** 0.5
            close(result, np.arccos(np.minimum(cosines, 1)).mean(), 1e-6)

    made = f"floats({seed(r)}, {at_least_one(r)}, {at_least_one(r)}, dtype={r.choice(FLOATING)!r})"
    return Call("fh.evaluate.quantization_angle", "quantization_angle", {"u": array(r, made)}, check, arrays=("u",))


@target("fasthash.evaluate.bit_entropy")
def bit_entropy(r: Random) -> Call:
    def check(result, codes, n_bits=None, bitorder="little"):
        same_form(result, codes)
        bits = np.unpackbits(numbers(codes), axis=1, bitorder=bitorder)
        share = np.stack([bits.mean(0), 1 - bits.mean(0)])
        entropies = -np.where(share > 0, share * np.log2(np.maximum(share, 1e-300)), 0).sum(0)
        close(result, entropies[: None if n_bits is None else int(n_bits)], 1e-9)

    width = r.choice(WIDTHS)
    arguments = {"codes": array(r, f"packed({seed(r)}, {at_least_one(r)}, {width})")}
    arguments |= option(r, {"n_bits": str(r.randint(1, 8 * width)), **ORDER}, 0.5)
    return Call("fh.evaluate.bit_entropy", "bit_entropy", arguments, check, arrays=("codes",))
