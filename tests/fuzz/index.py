"""Sound calls of the indexes, answered by a model: lists of codes and ids."""

from __future__ import annotations

import operator
from random import Random

import numpy as np

import fasthash as fh
from tests.fuzz.calls import WORDS, Call, close, equal, option, same_form, target
from tests.fuzz.ops import distances, eligible, mask_of, nearest, radius_options, within
from tests.fuzz.values import array, at_least_one, bits, ids, numbers, packed, seed, some_rows

STATE = "(index.codes.tolist(), index.ids.tolist())"
N_BITS = (1, 7, 8, 12, 16, 32, 64, 70, 128)
KINDS = ("FlatIndex", "MultiIndex")
IN_THE_WAY = ("Path(", "''", "'x'", "'cpu'", "'none'")  # paths, of which some are files or folders that there are


class Filled:
    """The statements that make an index, and what is then in it."""

    def __init__(self, r: Random, kind: str, lengths: tuple[int, ...] = N_BITS) -> None:
        self.kind, self.n_bits = kind, r.choice(lengths)
        settings = "" if kind == "FlatIndex" or r.random() < 0.5 else ", layout='compact'"
        if kind == "MultiIndex" and r.random() < 0.5:
            settings += f", n_tables={r.randint(1, self.n_bits)}"
        statements = [f"index = fh.{kind}({self.n_bits}{settings})"]
        self.given_ids, self.ids = r.random() < 0.4, np.empty(0, np.int64)
        codes = []
        for start in range(0, 100 * r.randint(0, 2), 100):
            n, at = some_rows(r), seed(r)
            chosen = f", ids({at}, {n}) + {start}" if self.given_ids else ""
            statements.append(f"index.add(bits({at}, {n}, {self.n_bits}){chosen})")
            codes.append(bits(at, n, self.n_bits))
            new = ids(at, n) + start if self.given_ids else np.arange(len(self.ids), len(self.ids) + n)
            self.ids = np.concatenate([self.ids, new])
        self.codes = np.concatenate([np.empty((0, -(-self.n_bits // 8)), np.uint8), *codes])
        if len(self.ids) and r.random() < 0.3:
            place = r.randrange(len(self.ids))
            statements.append(f"index.remove(np.array([{self.ids[place]}]))")
            self.codes, self.ids = np.delete(self.codes, place, 0), np.delete(self.ids, place)
        if kind == "MultiIndex" and r.random() < 0.6:
            statements.append("index.build()")
        self.before = "; ".join(statements)

    def call(self, method, arguments, check, **more) -> Call:
        """Return a call of a method, after which the index is what it was or what `check` says."""

        def checked(result, was, now, **given):
            assert was == (self.codes.tolist(), self.ids.tolist())
            check(result, now, **given)

        where = f"{self.kind}.{method}"
        return Call(f"index.{method}", where, arguments, checked, before=self.before, state=STATE, **more)

    def same(self, now) -> None:
        """Raise unless the index is what it was."""
        assert now == (self.codes.tolist(), self.ids.tolist())

    def choice(self, r: Random) -> dict[str, str]:
        """Which codes are eligible, by one argument or none."""
        chosen = {"mask": mask_of(r, len(self.ids))} if r.random() < 0.5 else {"among": self.some_ids(r, " + [10**6]")}
        return option(r, chosen)

    def chosen(self, mask, among):
        """Which codes are eligible, bool [n]."""
        if among is None:
            return eligible(mask, len(self.ids))
        assert mask is None
        return np.isin(self.ids, int64(among))

    def some_ids(self, r: Random, others: str = "") -> str:
        """The expression of some of the ids, and of others."""
        chosen = r.sample(self.ids.tolist(), min(len(self.ids), r.randint(0, 3)))
        return array(r, f"np.array({chosen}{others}, np.int64)")

    def queries(self, r: Random) -> str:
        return array(r, f"bits({seed(r)}, {some_rows(r)}, {self.n_bits})")


def add(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, codes, ids=None):
        new = np.arange(len(now[1]))[len(index.ids) :] if ids is None else numbers(ids)
        assert result is None
        assert now[0] == [*index.codes.tolist(), *numbers(codes).tolist()]
        if ids is None:
            assert len(set(now[1])) == len(now[1])
            assert now[1][: len(index.ids)] == index.ids.tolist()
        else:
            assert now[1] == [*index.ids.tolist(), *new.tolist()]

    n = some_rows(r)
    arguments = {"codes": array(r, f"bits({seed(r)}, {n}, {index.n_bits})")}
    if index.given_ids and len(index.ids):
        arguments["ids"] = array(r, f"ids({seed(r)}, {n}) + 1000")
    if index.given_ids and not len(index.ids):  # of one kind or the other, whichever came first
        index = Filled(Random(0), kind)
        arguments = {"codes": f"bits({seed(r)}, {n}, {index.n_bits})"}
        if index.given_ids:
            arguments["ids"] = f"ids({seed(r)}, {n}) + 1000"
    return index.call("add", arguments, check, arrays=("codes", "ids"))


def int64(given):
    """Ids as an index keeps them."""
    if isinstance(given, (list, tuple, set, range)):
        return np.array([operator.index(i) for i in given], np.int64)
    x = numbers(given)
    assert x.ndim == 1
    assert x.dtype.kind in "iu"
    return x.astype(np.int64)


def remove(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, ids, ignore_missing=False):
        removed = np.isin(index.ids, int64(ids))
        assert ignore_missing or np.isin(int64(ids), index.ids).all()
        assert result == removed.sum()
        assert now == (index.codes[~removed].tolist(), index.ids[~removed].tolist())

    ignoring = option(r, {"ignore_missing": "True"})
    arguments = {"ids": index.some_ids(r, " + [10**6]" if ignoring else ""), **ignoring}
    return index.call("remove", arguments, check, arrays=("ids",))


def get(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, ids):
        index.same(now)
        same_form(result, ids)
        place = {i: at for at, i in enumerate(index.ids.tolist())}
        equal(result, index.codes[[place[i] for i in int64(ids).tolist()]])

    return index.call("get", {"ids": index.some_ids(r)}, check, arrays=("ids",))


def contains(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, ids):
        index.same(now)
        same_form(result, ids)
        equal(result, np.isin(int64(ids), index.ids))

    return index.call("contains", {"ids": index.some_ids(r, " + [10**6, -1]")}, check, arrays=("ids",))


def upsert(r: Random, kind: str) -> Call:
    index = Filled(r, kind)
    n = min(len(index.ids), r.randint(0, 3))
    old = r.sample(index.ids.tolist(), n)
    new = " + [5000, -7]" if index.given_ids and n else ""

    def check(result, now, codes, ids):
        kept = ~np.isin(index.ids, int64(ids))
        assert result == (~kept).sum()
        assert now[0] == [*index.codes[kept].tolist(), *numbers(codes).tolist()]
        assert now[1] == [*index.ids[kept].tolist(), *int64(ids).tolist()]

    arguments = {"codes": array(r, f"bits({seed(r)}, {n + 2 * bool(new)}, {index.n_bits})")}
    arguments["ids"] = array(r, f"np.array({old}{new}, np.int64)")
    return index.call("upsert", arguments, check, arrays=("codes", "ids"))


def merge(r: Random, kind: str) -> Call:
    index, at, n = Filled(r, kind), seed(r), some_rows(r)

    def check(result, now, other):
        assert result is None
        assert now[0] == [*index.codes.tolist(), *other.codes.tolist()]
        assert now[1][: len(index.ids)] == index.ids.tolist()
        assert len(set(now[1])) == len(now[1])

    other = f"other = fh.FlatIndex({index.n_bits}); other.add(bits({at}, {n}, {index.n_bits})"
    index.before += f"; {other}{f', ids({at}, {n}) + 10**4' if index.given_ids and len(index.ids) else ''})"
    if index.given_ids and not len(index.ids):
        index.before += "; index.reset()"
    return index.call("merge", {"other": "other"}, check)


def batches(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, size=65_536):
        index.same(now)
        parts = list(result)
        assert all(len(ids) == len(codes) <= int(size) for ids, codes in parts)
        assert [i for ids, _ in parts for i in ids.tolist()] == index.ids.tolist()
        assert [code for _, codes in parts for code in codes.tolist()] == index.codes.tolist()

    return index.call("batches", option(r, {"size": str(at_least_one(r))}, 0.8), check)


def reset(r: Random, kind: str) -> Call:
    def check(result, now):
        assert result is None
        assert now == ([], [])

    return Filled(r, kind).call("reset", {}, check)


def search(r: Random, kind: str) -> Call:
    index = Filled(r, kind)
    n = len(index.ids)

    def check(
        result, now, queries, k, mask=None, among=None, threads=None, rerank=None, rerank_queries=None,
        metric="inner_product", factor=10, bits=4,
    ):  # fmt: skip
        index.same(now)
        assert metric in ("inner_product", "l2")
        assert int(factor) >= 1
        for x in result:
            same_form(x, queries)
        assert 1 <= int(bits) <= 8
        chosen = index.chosen(mask, among)
        if numbers(queries).dtype.kind == "f":
            assert numbers(queries).shape[1] == index.n_bits
            found = fh.asymmetric_topk(numbers(queries), index.codes, int(k), bits=int(bits), mask=chosen)
            if rerank is None:
                equal(result.distances, -found.scores)
                equal(result.ids, np.append(index.ids, -1)[found.ids])
                return
        else:
            found = distances(queries, index.codes)
        if rerank is None:
            expected = nearest(found, k, chosen, index.ids)
            equal(result.distances, expected[0])
            equal(result.ids, expected[1])
            return
        if int(factor) * int(k) < n:  # which candidates there are is another test's
            return
        x = np.unpackbits(index.codes, axis=1, bitorder="little")[:, : index.n_bits] * 2.0 - 1
        x = x if isinstance(rerank, str) else numbers(rerank).astype(float)
        q = numbers(rerank_queries).astype(float)
        if not (np.isfinite(x).all() and np.isfinite(q).all()):
            return
        second = ((q[:, None] - x) ** 2).sum(2) if metric == "l2" else -(q @ x.T)
        ordered = np.sort(np.where(chosen, second, np.inf), axis=1)[:, : int(k)]
        padding = np.full((len(ordered), int(k) - ordered.shape[1]), np.inf)
        close(result.distances, np.hstack([ordered, padding]), 1e-2)

    queries = index.queries(r)
    arguments = {"queries": queries, "k": str(r.choice((1, 2, 5, 20)))}
    if r.random() < 0.2:
        q = int(queries.split(", ")[1])
        arguments["queries"] = array(r, f"floats({seed(r)}, {q}, {index.n_bits})")
        arguments |= option(r, {"bits": str(r.randint(1, 8))})
    arguments |= index.choice(r) | option(r, {"threads": "2"})
    if r.random() < 0.3:
        d = index.n_bits if r.random() < 0.5 else at_least_one(r)
        arguments["rerank"] = "'asymmetric'" if d == index.n_bits else array(r, f"floats({seed(r)}, {n}, {d})")
        arguments["rerank_queries"] = array(r, f"floats({seed(r)}, {int(queries.split(', ')[1])}, {d})")
        arguments |= option(r, {"metric": r.choice(("'l2'", "'inner_product'")), "factor": str(at_least_one(r))})
    arrays = ("queries", "mask", "among", "rerank", "rerank_queries")
    sound = tuple(name for name in arrays if not arguments.get(name, "'").startswith("'"))
    return index.call("search", arguments, check, arrays=sound, sizes=("k",))


def radius_search(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, queries, radius, max_hits=None, exclude=None, mask=None, among=None, threads=None):
        index.same(now)
        for x in result:
            same_form(x, queries)
        found, chosen = distances(queries, index.codes), index.chosen(mask, among)
        for x, expected in zip(result, within(found, radius, chosen, index.ids, max_hits, exclude), strict=True):
            equal(x, expected)

    arguments = radius_arguments(r, index)
    return index.call("radius_search", arguments, check, arrays=("queries", "mask", "among", "exclude"))


def radius_arguments(r: Random, index: Filled) -> dict[str, str]:
    queries = index.queries(r)
    arguments = {"queries": queries, "radius": str(r.randint(0, index.n_bits))}
    arguments |= radius_options(r, int(queries.split(", ")[1]), 20)
    return arguments | index.choice(r) | option(r, {"threads": "2"})


def iter_radius_search(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, queries, radius, max_hits=None, exclude=None, mask=None, among=None, first=0, **options):
        index.same(now)
        found, chosen = distances(queries, index.codes), index.chosen(mask, among)
        expected = within(found, radius, chosen, index.ids, max_hits, exclude)
        at = int(first)
        for begin, part in result:
            for x in part:
                same_form(x, queries)
            offsets = numbers(part.offsets)
            assert begin == at
            at += len(offsets) - 1
            wanted = expected[0][begin : at + 1]
            equal(offsets, wanted - wanted[0])
            equal(part.distances, expected[1][wanted[0] : wanted[-1]])
            equal(part.ids, expected[2][wanted[0] : wanted[-1]])
        assert at == len(found)

    arguments = radius_arguments(r, index) | option(r, {"first": "0", "part_hits": str(r.randint(1, 50))})
    arguments |= option(r, {"progress": "False"})
    arrays = ("queries", "mask", "among", "exclude")
    return index.call("iter_radius_search", arguments, check, arrays=arrays, fixed=("progress",))


def add_and_pair(r: Random, kind: str) -> Call:
    index = Filled(r, kind)
    at, n = seed(r), some_rows(r)

    def check(result, now, codes, radius, ids=None, **options):
        added = numbers(codes).reshape(-1, index.codes.shape[1])
        assert now[0] == [*index.codes.tolist(), *added.tolist()]
        all_ids = np.array(now[1], np.int64)
        assert now[1][: len(index.ids)] == index.ids.tolist()
        assert ids is None or now[1][len(index.ids) :] == int64(ids).tolist()
        expected = fh.hamming_pairs(np.concatenate([index.codes, added]), radius, since=len(index.ids))
        for x, wanted in zip(result, (all_ids[expected.i], all_ids[expected.j], expected.distances), strict=True):
            same_form(x, codes)
            equal(x, wanted)

    arguments = {"codes": array(r, f"bits({at}, {n}, {index.n_bits})"), "radius": str(r.randint(0, index.n_bits))}
    if index.given_ids:
        arguments["ids"] = array(r, f"ids({at}, {n}) + 10**4")
    arguments |= option(r, {"max_pairs": "10**4", "progress": "False", "threads": "2"})
    return index.call("add_and_pair", arguments, check, arrays=("codes", "ids"), fixed=("progress", "max_pairs"))


def hamming_pairs(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, radius, mask=None, copies="first"):
        index.same(now)
        expected = fh.hamming_pairs(index.codes, radius, mask=mask, copies=copies)
        equal(result.i, index.ids[expected.i])
        equal(result.j, index.ids[expected.j])
        equal(result.distances, expected.distances)

    chosen = option(r, {"mask": mask_of(r, len(index.ids))}) | option(r, {"copies": r.choice(("'first'", "'all'"))})
    return index.call("hamming_pairs", {"radius": str(r.randint(0, index.n_bits))} | chosen, check, arrays=("mask",))


def save(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now, file):
        assert result is None
        index.same(now)
        loaded = fh.load_index(file)
        assert (loaded.codes.tolist(), loaded.ids.tolist()) == now

    return index.call("save", {"file": "folder() / 'saved.index'"}, check, without=IN_THE_WAY)


def to_bytes(r: Random, kind: str) -> Call:
    index = Filled(r, kind)

    def check(result, now):
        index.same(now)
        loaded = fh.index.from_bytes(result, verify=True)
        assert (loaded.codes.tolist(), loaded.ids.tolist()) == now

    return index.call("to_bytes", {}, check)


for _kind in KINDS:
    for _method in (
        *(add, remove, reset, search, radius_search, iter_radius_search, hamming_pairs, add_and_pair, save),
        *(get, contains, upsert, merge, batches, to_bytes),
    ):
        _weight = 0.1 if _method is save else 1.0
        target(f"fasthash.{_kind}.{_method.__name__}", weight=_weight)(
            lambda r, method=_method, kind=_kind: method(r, kind)
        )


@target("fasthash.MultiIndex.search_bounded")
def search_bounded(r: Random) -> Call:
    index = Filled(r, "MultiIndex")

    def check(result, now, queries, k, max_candidates, mask=None, among=None, threads=None):
        index.same(now)
        expected = nearest(distances(queries, index.codes), k, index.chosen(mask, among), index.ids)
        exact = numbers(result.complete)
        assert exact.dtype == bool
        for x, wanted in zip(result[:2], expected, strict=True):
            same_form(x, queries)
            np.testing.assert_array_equal(numbers(x)[exact], wanted[exact])

    arguments = {"queries": index.queries(r), "k": str(r.choice((1, 2, 5, 20)))}
    arguments |= {"max_candidates": str(r.choice((1, 10, 1000)))}
    arguments |= index.choice(r) | option(r, {"threads": "2"})
    return index.call("search_bounded", arguments, check, arrays=("queries", "mask", "among"), sizes=("k",))


@target("fasthash.MultiIndex.build")
def build(r: Random) -> Call:
    index = Filled(r, "MultiIndex")

    def check(result, now, threads=None):
        assert result is None
        index.same(now)

    return index.call("build", option(r, {"threads": "2"}, 0.8), check)


@target("fasthash.MultiIndex.stats")
def stats(r: Random) -> Call:
    index = Filled(r, "MultiIndex")

    def check(result, now):
        index.same(now)
        assert result.n_indexed + result.n_waiting == len(index.ids)
        assert index.codes.size <= result.code_bytes <= index.codes.size * 8 // 7  # with what was removed
        assert len(result.keys) == result.n_tables

    return index.call("stats", {}, check)


@target("fasthash.FlatIndex")
def flat_index(r: Random) -> Call:
    def check(result, n_bits, device="cpu"):
        assert (result.n_bits, len(result)) == (int(n_bits), 0)

    arguments = {"n_bits": str(r.choice(N_BITS)), **option(r, {"device": "'cpu'"})}
    return Call("fh.FlatIndex", "FlatIndex", arguments, check)


@target("fasthash.MultiIndex")
def multi_index(r: Random) -> Call:
    def check(result, n_bits, n_tables="auto", layout="fast"):
        assert (result.n_bits, len(result)) == (int(n_bits), 0)
        assert (result.n_tables, result.layout) == (n_tables if isinstance(n_tables, str) else int(n_tables), layout)

    n_bits = r.choice(N_BITS)
    arguments = {"n_bits": str(n_bits)}
    arguments |= option(r, {"n_tables": str(r.randint(1, n_bits)), "layout": "'compact'"}, 0.5)
    return Call("fh.MultiIndex", "MultiIndex", arguments, check)


@target("fasthash.load_index", weight=0.1)
def load_index(r: Random) -> Call:
    index = Filled(r, r.choice(KINDS))

    def check(result, file, mmap=True, verify=False, device="cpu"):
        assert type(result).__name__ == index.kind
        index.same((result.codes.tolist(), result.ids.tolist()))

    before = f"{index.before}; index.save(folder() / 'loaded.index')"
    arguments = {"file": "folder() / 'loaded.index'"}
    arguments |= option(r, {"mmap": "False", "verify": "True", "device": "'cpu'"})
    return Call("fh.load_index", "load_index", arguments, check, before=before, without=IN_THE_WAY)


@target("fasthash.index.from_bytes")
def from_bytes(r: Random) -> Call:
    index = Filled(r, r.choice(KINDS))

    def check(result, data, verify=False, device="cpu"):
        assert type(result).__name__ == index.kind
        index.same((result.codes.tolist(), result.ids.tolist()))

    data = f"{r.choice(('bytes', 'bytearray', 'memoryview'))}(index.to_bytes())"
    arguments = {"data": data, **option(r, {"verify": "True", "device": "'cpu'"})}
    return Call("fh.index.from_bytes", "from_bytes", arguments, check, before=index.before)


@target("fasthash.index.from_faiss", needs="faiss")
def from_faiss(r: Random) -> Call:
    n, n_bytes, at = some_rows(r), r.choice((1, 2, 8)), seed(r)

    def check(result, index):
        assert result.codes.tolist() == packed(at, n, n_bytes).tolist()

    before = f"import faiss; flat = faiss.IndexBinaryFlat({8 * n_bytes}); flat.add(packed({at}, {n}, {n_bytes}))"
    return Call("fh.index.from_faiss", "from_faiss", {"index": "flat"}, check, before=before)


@target("fasthash.index.to_faiss", needs="faiss")
def to_faiss(r: Random) -> Call:
    index = Filled(r, r.choice(KINDS), (8, 16, 64))

    def check(result, was, now, index):
        assert result.ntotal == len(index)
        assert now == was

    return Call("fh.index.to_faiss", "to_faiss", {"index": "index"}, check, before=index.before, state=STATE)


WORDS |= {"from_faiss": ("IndexBinaryFlat",), "to_faiss": ("an index of fasthash",)}
