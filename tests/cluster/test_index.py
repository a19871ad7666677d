"""An index in shards answers as one index does, whatever is changed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from fasthash.cluster import PartialHits, PartialRadiusHits, ShardedIndex, encode_files
from fasthash.cluster.folders import MANIFEST
from tests.cluster.conftest import (
    BITS,
    KINDS,
    assert_same,
    encoded_folder,
    flat_of,
    near_codes,
    save_codes,
    sign_hasher,
)

IDS = np.random.default_rng(2).permutation(10**6)[:3000] - 1000  # some are negative, none is -1
IDS[IDS == -1] = 10**6 + 1


@pytest.mark.parametrize(("kind", "layout"), KINDS)
@pytest.mark.parametrize("n_shards", [1, 3, 8])
def test_searches_are_those_of_one_index(build, codes, queries, kind, layout, n_shards):
    index, one = build(n_shards, kind=kind, layout=layout), flat_of(codes)
    assert (len(index), index.n_bits) == (3000, BITS)
    for k in (1, 7, 500, 3100):
        assert_same(index.search(queries, k), one.search(queries, k))
    z = np.random.default_rng(3).normal(size=(5, BITS)).astype(np.float32)
    for bits in (1, 4):
        assert_same(index.search(z, 40, bits=bits), one.search(z, 40, bits=bits))
    among = np.r_[np.arange(0, 3000, 7), 10**9, -5]
    for asked in (among, set(among.tolist()), np.empty(0, np.int64)):
        assert_same(index.search(queries, 600, among=asked), one.search(queries, 600, among=asked))
        assert_same(index.search(z, 60, among=asked), one.search(z, 60, among=asked))
    assert_same(index.radius_search(queries, 3), one.radius_search(queries, 3))
    own = np.where(np.arange(20) % 2, np.arange(20) * 100, -1)
    for more in ({"max_hits": 3}, {"exclude": own}, {"max_hits": 9, "exclude": own}, {"among": among}):
        assert_same(index.radius_search(queries, 5, **more), one.radius_search(queries, 5, **more))


@pytest.mark.parametrize(("kind", "layout"), KINDS)
@pytest.mark.parametrize("n_shards", [1, 5])
def test_ties_are_in_the_order_of_given_ids(build, codes, queries, kind, layout, n_shards):
    index, one = build(n_shards, IDS, kind, layout), flat_of(codes, IDS)
    assert index.manifest.next_id is None
    assert_same(index.search(queries, 300), one.search(queries, 300))
    own = IDS[:20]
    assert_same(index.radius_search(queries, 4, exclude=own), one.radius_search(queries, 4, exclude=own))
    among = IDS[::11]
    assert_same(index.search(queries, 20, among=among), one.search(queries, 20, among=among))
    assert index.contains([IDS[5], 10**7, -1]).tolist() == [True, False, False]
    assert (index.get(IDS[40:90]) == codes[40:90]).all()


def rerankings(n, queries, rng, tmp_path):
    """Arguments of a search that reranks n codes, by what lies in the order of ids; many second distances are equal."""
    vectors, wanted = rng.integers(-2, 3, (n, 6)), rng.integers(-2, 3, (len(queries), 6)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float32))
    odd = np.where(rng.random((n, 6)) < 0.1, np.nan, vectors)
    mapped = {"rerank": np.load(tmp_path / "vectors.npy", mmap_mode="r"), "rerank_queries": wanted}
    return [
        mapped,
        {**mapped, "factor": 1},
        {**mapped, "factor": n, "metric": "l2"},
        {**mapped, "among": np.arange(-500, 10**6, 3)},
        {**mapped, "among": []},
        {"rerank": vectors.astype(np.int8), "rerank_queries": wanted, "metric": "l2", "factor": 3},
        {"rerank": odd, "rerank_queries": torch.from_numpy(wanted), "factor": 3},
        {"rerank": "asymmetric", "rerank_queries": rng.normal(size=(len(queries), BITS)).astype(np.float32)},
        {"rerank": lambda ids: np.where(ids == -1, 0, ids % 7).astype(np.float64), "factor": 4},
    ]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("kind", "layout"), KINDS)
@pytest.mark.parametrize("n_shards", [1, 3, 8])
def test_reranked_hits_are_those_of_one_index(build, codes, queries, rng, given, kind, layout, n_shards, tmp_path):
    ids = IDS if given else np.arange(3000)
    index, one = build(n_shards, IDS if given else None, kind, layout), flat_of(codes, ids)
    projections = rng.normal(size=(len(queries), BITS)).astype(np.float32)
    for more in rerankings(3000, queries, rng, tmp_path):
        assert_same(index.search(queries, 30, **more), one.search(queries, 30, **more))
        assert_same(index.search(projections, 30, **more), one.search(projections, 30, **more))
    gone = ids[rng.permutation(3000)[:700]]
    index.remove(gone)
    one.remove(gone)
    for more in rerankings(2300, queries, rng, tmp_path):
        assert_same(
            index.search(torch.from_numpy(queries), 8, **more), one.search(torch.from_numpy(queries), 8, **more)
        )


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("kind", "layout"), KINDS)
@pytest.mark.parametrize("n_shards", [1, 3, 8])
def test_scores_with_factors_and_offsets_are_those_of_one_index(build, codes, rng, given, kind, layout, n_shards):
    ids = IDS if given else np.arange(3000)
    index, one = build(n_shards, IDS if given else None, kind, layout), flat_of(codes, ids)
    projections = rng.normal(size=(5, BITS)).astype(np.float32)

    def compare():
        factors = np.float32([0.5, 1, 3])[rng.integers(0, 3, len(one))]  # of which many scores are equal
        offsets = rng.normal(size=len(one)).astype(np.float32)
        vectors = {"rerank": rng.normal(size=(len(one), 3)), "rerank_queries": rng.normal(size=(5, 3))}
        for more in ({"factors": factors}, {"offsets": torch.from_numpy(offsets)}):
            assert_same(index.search(projections, 40, **more), one.search(projections, 40, **more))
        both = {"factors": factors, "offsets": offsets, "bits": 6}
        for more in ({}, {"among": ids[::2]}, {"among": ids[:9]}, vectors):
            assert_same(index.search(projections, 40, **both, **more), one.search(projections, 40, **both, **more))

    compare()
    gone = ids[rng.permutation(3000)[:700]]
    index.remove(gone)
    one.remove(gone)
    compare()
    if not given:
        index.add(codes[:5])
        one.add(codes[:5], np.arange(3000, 3005))
        compare()


def test_factors_of_shards_that_are_missing_are_passed_over(build, codes, rng):
    index = build(3)
    missing = index.manifest.shards[0]
    (index.folder / missing.file).unlink()
    projections, factors = rng.normal(size=(5, BITS)), rng.random(3000).astype(np.float32)
    found = index.search(projections, 7, factors=factors, partial=True)
    one = flat_of(codes[1000:], np.arange(1000, 3000))
    assert_same(found, one.search(projections, 7, factors=factors[1000:]))
    assert list(found.missing) == [missing.file]


def test_factors_that_belong_to_shards_which_only_a_missing_one_tells_are_refused(build, rng):
    index = build(2, IDS)  # both shards have ids of the whole range
    missing = index.manifest.shards[1]
    (index.folder / missing.file).unlink()
    message = f"ShardedIndex.search: expected an answer of all 2 shards, got none of 1, {missing.file} for one: "
    with pytest.raises(OSError, match=message):
        index.search(rng.normal(size=(1, BITS)), 5, offsets=np.zeros(3000, np.float32), partial=True)


def test_an_empty_index_is_reranked(build, codes, queries, rng, tmp_path):
    index, one = build(2), flat_of(codes)
    index.remove(np.arange(3000))
    one.remove(np.arange(3000))
    for more in rerankings(0, queries, rng, tmp_path):
        assert_same(index.search(queries, 3, **{**more, "factor": 2}), one.search(queries, 3, **{**more, "factor": 2}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rerank": np.zeros((2999, 4)), "rerank_queries": np.zeros((20, 4))},
        {"rerank": np.zeros((3000, 4)), "rerank_queries": np.zeros((20, 3))},
        {"rerank": np.zeros((3000, 4), np.int32), "rerank_queries": np.zeros((20, 4))},
        {"rerank": np.zeros((3000, 4))},
        {"rerank": "vectors", "rerank_queries": np.zeros((20, 4))},
        {"rerank": "asymmetric", "rerank_queries": np.zeros((20, 4))},
        {"rerank": lambda ids: ids, "rerank_queries": np.zeros((20, 4))},
        {"rerank": lambda ids: ids},
        {"rerank": lambda ids: np.zeros(3)},
        {"rerank_queries": np.zeros((20, 4))},
        {"metric": "cosine"},
        {"factor": 0},
    ],
)
def test_wrong_rerankings_are_refused_as_by_one_index(build, codes, queries, wrong):
    assert_refused_alike(build(2), flat_of(codes), queries, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"factors": np.ones(2999, np.float32)},
        {"offsets": np.ones(3000)},
        {"factors": np.ones((3000, 1), np.float32)},
        {"factors": np.float32([1, np.inf, 2] * 1000), "offsets": np.ones(3000, np.float32)},
        {"offsets": np.full(3000, np.nan, np.float32)},
    ],
)
def test_wrong_factors_are_refused_as_by_one_index(build, codes, wrong):
    index, one = build(2), flat_of(codes)
    assert_refused_alike(index, one, np.ones((2, BITS)), wrong)
    assert_refused_alike(index, one, codes[:2], {"factors": np.ones(3000, np.float32)})


def assert_refused_alike(index, one, queries, wrong):
    with pytest.raises((TypeError, ValueError)) as ours:
        index.search(queries, 3, **wrong)
    with pytest.raises((TypeError, ValueError)) as theirs:
        one.search(queries, 3, **wrong)
    assert type(ours.value) is type(theirs.value)
    assert str(ours.value) == str(theirs.value).replace("FlatIndex", "ShardedIndex")


@pytest.mark.parametrize("given", [False, True])
def test_what_shards_are_left_find_is_reranked(build, codes, queries, rng, given):
    ids = np.sort(IDS) if given else np.arange(3000)
    index = build(3, ids if given else None)
    missing = index.manifest.shards[1]
    (index.folder / missing.file).unlink()
    left = np.setdiff1d(np.arange(3000), np.arange(1000, 2000))
    one = flat_of(codes[left], ids[left])
    vectors, wanted = rng.normal(size=(3000, 4)), rng.normal(size=(20, 4))
    found = index.search(queries, 5, rerank=vectors, rerank_queries=wanted, partial=True)
    assert list(found.missing) == [missing.file]
    assert_same(found, one.search(queries, 5, rerank=vectors[left], rerank_queries=wanted))
    z = rng.normal(size=(20, BITS))
    found = index.search(queries, 5, rerank="asymmetric", rerank_queries=z, partial=True)
    assert_same(found, one.search(queries, 5, rerank="asymmetric", rerank_queries=z))


def test_vectors_whose_rows_only_a_missing_shard_tells_are_not_read(build, queries):
    index = build(2, IDS)  # both shards have ids of the whole range
    missing = index.manifest.shards[0]
    (index.folder / missing.file).unlink()
    vectors = {"rerank": np.zeros((3000, 2)), "rerank_queries": np.zeros((20, 2))}
    message = f"ShardedIndex.search: expected an answer of all 2 shards, got none of 1, {missing.file} for one: "
    with pytest.raises(OSError, match=message):
        index.search(queries, 5, **vectors, partial=True)


def test_npy_files_need_no_pyarrow(build, codes, queries, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    index, one = build(3), flat_of(codes)
    opened = ShardedIndex.open(index.folder, verify=True)
    assert_same(opened.search(queries, 9), one.search(queries, 9))
    assert_same(opened.radius_search(queries, 3), one.radius_search(queries, 3))
    assert (opened.get([5, 2000]) == codes[[5, 2000]]).all()
    opened.add(codes[:2])
    opened.remove([3000, 3001])
    opened.rebalance(2)
    assert_same(opened.search(queries, 9), one.search(queries, 9))
    for files, n in ((f"{tmp_path}/codes/[01].npy", 2000), (f"file://{tmp_path}/codes/2.npy", 1000)):
        assert len(ShardedIndex.build(files, tmp_path / str(n), n_shards=1)) == n
    with pytest.raises(ImportError, match=r"ShardedIndex.pairs needs pyarrow, .* pip install 'torch-fasthash\[parquet"):
        opened.pairs(1, tmp_path / "pairs")
    with pytest.raises(ImportError, match="ShardedIndex.build needs pyarrow, but pyarrow is not installed"):
        ShardedIndex.build("s3://bucket/codes", tmp_path / "index", n_shards=1)


def test_what_encode_files_wrote_needs_pyarrow(tmp_path, codes, monkeypatch):
    source = encoded_folder(tmp_path / "codes", codes, IDS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="ShardedIndex.build of Parquet files needs pyarrow"):
        ShardedIndex.build(source, tmp_path / "index", n_shards=1)
    with pytest.raises(ImportError, match="encode_files needs pyarrow, but pyarrow is not installed"):
        encode_files(sign_hasher(), source, tmp_path / "out")


def test_tensors_give_tensors(build, codes, queries):
    index, one = build(2), flat_of(codes)
    q = torch.from_numpy(queries)
    assert_same(index.search(q, 3), one.search(q, 3))
    assert_same(index.radius_search(q, 2), one.radius_search(q, 2))
    z = torch.randn(4, BITS, dtype=torch.bfloat16)
    assert_same(index.search(z, 3), one.search(z, 3))
    assert isinstance(index.contains(torch.tensor([1])), torch.Tensor)
    assert isinstance(index.get(torch.tensor([1])), torch.Tensor)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("kind", "layout"), KINDS)
def test_changes_are_those_of_one_index(build, codes, queries, given, kind, layout):
    ids = IDS if given else np.arange(3000)
    index = build(4, IDS if given else None, kind, layout)
    more, more_ids = near_codes(500, seed=5), np.arange(3000, 3500) + 2 * 10**6 * given
    removed = np.random.default_rng(4).permutation(3000)
    there = dict(zip(ids.tolist(), codes, strict=True))
    steps = [
        lambda: index.remove(ids[removed[:40]]),
        lambda: index.remove(set(ids[removed[:50]].tolist()), ignore_missing=True),
        lambda: index.add(more, more_ids if given else None),
        lambda: index.remove(ids[removed[:1200]], ignore_missing=True),
        lambda: index.rebalance(3),
        lambda: index.remove(ids[removed[1200:1210]]),
        lambda: index.rebalance(7),
    ]
    gone = [40, 50, 50, 1200, 1200, 1210, 1210]
    for i, (step, n_gone) in enumerate(zip(steps, gone, strict=True)):
        step()
        left = {k: v for k, v in there.items() if k not in set(ids[removed[:n_gone]].tolist())}
        if i >= 2:
            left |= dict(zip(more_ids.tolist(), more, strict=True))
        one = flat_of(np.stack(list(left.values())), np.array(list(left)))
        assert len(index) == len(one)
        for opened in (index, ShardedIndex.open(index.folder, verify=True)):
            assert_same(opened.search(queries, 100), one.search(queries, 100))
        assert index.manifest.version == i + 1
    assert [shard.ids[0] for shard in index.manifest.shards] == sorted(shard.ids[0] for shard in index.manifest.shards)
    assert max(shard.n for shard in index.manifest.shards) - min(shard.n for shard in index.manifest.shards) <= 1


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("kind", "layout"), KINDS)
@pytest.mark.parametrize("n_shards", [1, 4])
def test_upserts_are_those_of_one_index(build, codes, queries, rng, given, kind, layout, n_shards):
    ids = IDS if given else np.arange(3000)
    index = build(n_shards, IDS if given else None, kind, layout)
    there = dict(zip(ids.tolist(), codes, strict=True))
    order = rng.permutation(3000)
    new_ids = 2 * 10**6 - np.arange(30) if given else []
    for i, replaced in enumerate((order[:5], order[3:90], order[:1500], [], range(3000))):
        at = np.r_[ids[list(replaced)], new_ids].astype(np.int64)
        new = near_codes(len(at), seed=i + 10)
        n_known = sum(id in there for id in at.tolist())
        assert index.upsert(new, at) == n_known
        there |= dict(zip(at.tolist(), new, strict=True))
        one = flat_of(np.stack(list(there.values())), np.array(list(there)))
        assert len(index) == len(one)
        for opened in (index, ShardedIndex.open(index.folder, verify=True)):
            assert_same(opened.search(queries, 60), one.search(queries, 60))
        assert (index.get(at) == new).all()
    assert index.manifest.version == 4 + given  # one change each, none for nothing
    index.rebalance(3)
    assert_same(index.search(queries, 60), one.search(queries, 60))
    if not given:
        index.add(codes[:1])
        assert index.contains([3000]).all()


def test_what_is_removed_may_be_added_again(build, codes, queries):
    index = build(3, IDS)
    index.remove(IDS[:30])
    index.add(codes[:30], IDS[:30])
    assert_same(index.search(queries, 50), flat_of(codes, IDS).search(queries, 50))


def test_an_index_may_be_emptied(build, queries):
    index = build(3)
    assert index.remove(np.arange(3000)) == 3000
    assert (len(index), index.manifest.shards) == (0, ())
    assert (index.search(queries, 2).ids == -1).all()
    assert (index.search(queries, 2).distances == 2**31 - 1).all()
    assert np.isinf(index.search(np.ones((1, BITS), np.float32), 2).distances).all()
    assert len(index.radius_search(queries, BITS).ids) == 0
    assert not index.contains([1]).any()
    index.rebalance(1)
    index.add(near_codes(2))
    assert index.search(near_codes(2), 1).ids.min() == 3000


def test_another_object_sees_changes_when_it_is_refreshed(build, queries):
    index = build(3)
    other = ShardedIndex.open(index.folder)
    before = other.search(queries, 5)
    index.remove([int(before.ids[0, 0])])
    index.rebalance(2)
    assert_same(other.search(queries, 5), before)
    other.refresh()
    assert_same(other.search(queries, 5), index.search(queries, 5))
    other.add(near_codes(1))
    assert index.remove([3000]) == 1
    assert len(index) == 2999


def test_what_a_change_replaced_is_swept_by_the_next(build):
    index = build(3)
    files = {path.name for path in index.folder.glob("shard-*")}
    leftover = index.folder / "shard-0123456789abcdef-00000.index"
    leftover.write_bytes(b"half")
    (index.folder / ".shard-x.index.0123456789abcdef").touch()
    users = [index.folder / name for name in ("notes", "shard-0.npy", "shard-0.index", "removed-1.npy", ".shard-x")]
    for path in users:
        path.touch()
    index.rebalance(2)
    assert not leftover.exists()
    assert not list(index.folder.glob(".shard-x.*"))
    assert files <= {path.name for path in index.folder.glob("shard-*")}
    index.remove([5])
    assert not files & {path.name for path in index.folder.glob("shard-*")}
    assert all(path.exists() for path in users)


def test_a_build_goes_on_where_it_was(build, tmp_path, codes, queries, monkeypatch):
    from fasthash.cluster import building

    write, n = building.write_shard, 0

    def interrupted(*arguments):
        nonlocal n
        n += 1
        if n == 3:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(building, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(4)
    folder = tmp_path / "flat-None-4"
    with pytest.raises(FileNotFoundError, match="ShardedIndex.open: expected an index in shards at .* got no m"):
        ShardedIndex.open(folder)
    first = sorted(folder.glob("shard-*"))
    times = [path.stat().st_mtime_ns for path in first]
    assert len(first) == 2
    index = build(4)
    assert [path.stat().st_mtime_ns for path in first] == times
    assert_same(index.search(queries, 9), flat_of(codes).search(queries, 9))
    n = -100
    assert build(4).manifest == index.manifest  # nothing is left to do
    index.rebalance(2)
    with pytest.raises(ValueError, match="expected a folder without another index, got one at"):
        build(4)


@pytest.mark.parametrize("n_shards", [2, 5])
def test_ids_of_two_shards_are_refused(tmp_path, codes, n_shards, monkeypatch):
    from fasthash.cluster import building

    monkeypatch.setattr(building, "_COMPARED", 200)
    ids = IDS.copy()
    ids[2900] = ids[3]
    encoded_folder(tmp_path / "codes", codes, ids)
    with pytest.raises(ValueError, match=f"ShardedIndex.build: expected ids none twice, got {ids[3]} again"):
        ShardedIndex.build(tmp_path / "codes", tmp_path / "index", n_shards=n_shards)
    assert not (tmp_path / "index" / MANIFEST).exists()


def test_a_damaged_shard_is_named(build, queries):
    index = build(3)
    shard = index.manifest.shards[1]
    path = index.folder / shard.file
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"ShardedIndex.open: .*{shard.file}"):
        ShardedIndex.open(index.folder, verify=True)
    content[20] ^= 1
    path.write_bytes(content)
    opened = ShardedIndex.open(index.folder)
    message = rf"ShardedIndex.search: expected an answer of all 3 shards, got none of 1, {shard.file} for one: "
    with pytest.raises(OSError, match=message):
        opened.search(queries, 3)
    path.unlink()
    with pytest.raises(OSError, match=message):
        opened.search(queries, 3)
    with pytest.raises(OSError, match="ShardedIndex.radius_search: expected an answer of all"):
        opened.radius_search(queries, 3)
    with pytest.raises(OSError, match="ShardedIndex.add: expected an answer of all|ShardedIndex.contains"):
        opened.contains([1])


@pytest.mark.parametrize("lost", ["shard", "removed"])
def test_what_needs_a_missing_file_names_its_function(build, lost, tmp_path):
    index = build(3, IDS)
    first = np.sort(IDS)[:3]
    index.remove(first[:1])
    shard = next(shard for shard in index.manifest.shards if shard.removed)
    (index.folder / (shard.file if lost == "shard" else shard.removed)).unlink()
    before = (index.folder / MANIFEST).read_bytes()
    for name, call, error in (
        ("open", lambda x: ShardedIndex.open(x.folder, verify=True), FileNotFoundError),
        ("upsert", lambda x: x.upsert(near_codes(1), first[1:2]), OSError),
        ("remove", lambda x: x.remove(first[1:2], ignore_missing=True), OSError),
        ("rebalance", lambda x: x.rebalance(2), FileNotFoundError),
        ("pairs", lambda x: x.pairs(1, tmp_path / "pairs"), FileNotFoundError),
    ):
        with pytest.raises(error, match=f"^ShardedIndex.{name}: expected "):
            call(ShardedIndex.open(index.folder))
    assert (index.folder / MANIFEST).read_bytes() == before


def test_damaged_codes_are_not_written_anew(build):
    """A new file's checksum would be that of the damage."""
    index = build(3)
    shard = index.manifest.shards[1]
    path = index.folder / shard.file
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    before = (index.folder / MANIFEST).read_bytes()
    many = np.arange(1000, 1500)
    with pytest.raises(ValueError, match=f"^ShardedIndex.rebalance: .*{shard.file}, got .* do not match"):
        index.rebalance(2)
    with pytest.raises(OSError, match=f"^ShardedIndex.remove: .*{shard.file}, got .* do not match"):
        index.remove(many)
    with pytest.raises(OSError, match=f"^ShardedIndex.upsert: .*{shard.file}, got .* do not match"):
        index.upsert(near_codes(500), many)
    assert (index.folder / MANIFEST).read_bytes() == before


def test_another_file_in_the_place_of_a_shard_is_refused(build, queries):
    index = build(3)
    first, second = (index.folder / shard.file for shard in index.manifest.shards[:2])
    first.write_bytes(second.read_bytes())
    with pytest.raises(OSError, match="expected 1000 codes with the manifest's checksum at .*, got others"):
        index.search(queries, 3)


def test_partial_answers_say_what_is_missing(build, codes, queries):
    index = build(3)
    whole = index.search(queries, 5, partial=True)
    assert isinstance(whole, PartialHits)
    assert whole.missing == {}
    shard = index.manifest.shards[1]
    (index.folder / shard.file).unlink()
    index = ShardedIndex.open(index.folder)
    left = np.r_[0:1000, 2000:3000]
    found, near = index.search(queries, 5, partial=True), index.radius_search(queries, 4, partial=True)
    assert isinstance(near, PartialRadiusHits)
    assert list(found.missing) == list(near.missing) == [shard.file]
    one = flat_of(codes[left], left)
    assert_same(found, one.search(queries, 5))
    assert_same(near, one.radius_search(queries, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {**m, "format": "fasthash shards 9"}, "of 'fasthash shards 9', where 'fasthash shards 1' is read"),
        (lambda m: {**m, "version": 3}, "that does not match its checksum"),
        (lambda m: [m], "a manifest.json of 'list'"),
        (lambda m: "{", "that is not JSON"),
    ],
)
def test_a_damaged_manifest_is_refused(build, change, message):
    path = build(2).folder / MANIFEST
    changed = change(json.loads(path.read_text()))
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(ValueError, match=f"ShardedIndex.open: expected an index in shards at .*, got .*{message}"):
        ShardedIndex.open(path.parent)


WRONG = [
    (lambda x: x.search(near_codes(1), 0), ValueError, "search: expected k at least 1, got 0"),
    (lambda x: x.search(near_codes(1)[:, :2], 1), ValueError, "search: expected queries of 4 bytes a row"),
    (lambda x: x.search(near_codes(1), 1, among=[0.5]), TypeError, r"search: expected among\[0\] to be an integer"),
    (lambda x: x.search(near_codes(1), 1, threads=0), ValueError, "search: expected threads from 1 to 4096, got 0"),
    (lambda x: x.search(np.full((1, BITS), np.nan), 1), ValueError, "search: expected queries to be finite"),
    (lambda x: x.search(near_codes(1), 1, partial=1), TypeError, "search: expected partial to be True or False"),
    (lambda x: x.search(near_codes(2), 2**45), MemoryError, "search: expected memory for the result, got none for"),
    (lambda x: x.radius_search(near_codes(1), -1), ValueError, "radius_search: expected radius at least 0, got -1"),
    (lambda x: x.radius_search(near_codes(2), 1, exclude=[1]), ValueError, r"expected exclude of shape \[2\]"),
    (lambda x: x.add(near_codes(1), [7]), ValueError, "add: expected no ids, as the codes in the index were added"),
    (lambda x: x.add(near_codes(1)[:, :1]), ValueError, "add: expected codes of 4 bytes a row"),
    (lambda x: x.remove([5, 4000]), ValueError, "remove: expected ids in the index, got 4000, which is not"),
    (lambda x: x.get([4000]), ValueError, "get: expected ids in the index, got 4000, which is not"),
    (lambda x: x.upsert(near_codes(2), [5, 5]), ValueError, "upsert: expected ids none twice, got 5 again"),
    (lambda x: x.upsert(near_codes(2), [5, 4000]), ValueError, "upsert: expected ids in the index, got 4000, which is"),
    (lambda x: x.upsert(near_codes(2), [5]), ValueError, r"upsert: expected ids of shape \[2\] for 2 codes"),
    (lambda x: x.upsert(near_codes(1), None), TypeError, "upsert: expected ids, got None"),
    (lambda x: x.upsert(near_codes(1), [-1]), ValueError, "upsert: expected ids other than -1"),
    (lambda x: x.rebalance(0), ValueError, "rebalance: expected n_shards at least 1, got 0"),
    (lambda x: x.rebalance(3001), ValueError, "rebalance: expected n_shards for 3000 codes from 1 to 3000"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls_are_refused_and_change_nothing(build, call, error, message):
    index = build(2)
    before = (index.folder / MANIFEST).read_bytes()
    with pytest.raises(error, match=f"^ShardedIndex.{message}" if ":" in message else message):
        call(index)
    assert (index.folder / MANIFEST).read_bytes() == before


def test_wrong_additions_with_ids_are_refused(build):
    index = build(2, IDS)
    for ids, message in (
        (None, "expected ids, as the codes in the index were added with, got none"),
        ([5, 5], "expected ids none twice, got 5 again"),
        ([10**7, IDS[7]], f"expected ids that are not in the index, got {IDS[7]}, which is"),
        ([-1, 5], "expected ids other than -1"),
    ):
        with pytest.raises(ValueError, match=f"^ShardedIndex.add: {message}"):
            index.add(near_codes(2), ids)
    assert index.manifest.version == 0
    index.add(near_codes(0), np.empty(0, np.int64))
    assert index.manifest.version == 0


def test_wrong_builds_are_refused(tmp_path, codes):
    source, out = save_codes(tmp_path / "codes", codes), tmp_path / "index"
    for arguments, error, message in (
        ({"n_shards": 0}, ValueError, "expected n_shards at least 1, got 0"),
        ({"n_shards": 3001}, ValueError, "expected n_shards for 3000 codes from 1 to 3000, got 3001"),
        ({"n_shards": 2, "kind": "ivf"}, ValueError, "expected kind to be one of 'flat', 'multi', got 'ivf'"),
        ({"n_shards": 2, "layout": "fast"}, ValueError, "expected layout to be one of 'rows', 'planes', got 'fast'"),
        ({"n_shards": 2, "n_bits": 40}, ValueError, "expected n_bits of 4 bytes, as the codes at .* have, got 40"),
        ({"n_shards": 2, "n_bits": 25}, ValueError, "expected codes whose bits beyond the first 25 are 0, got others"),
        ({"n_shards": 2, "engine": "dask"}, ValueError, "expected engine to be one of 'local', 'ray', got 'dask'"),
    ):
        shifted = source
        if arguments.get("n_bits") == 25:
            shifted = save_codes(tmp_path / "wide", codes | 128)
        with pytest.raises(error, match=f"^ShardedIndex.build: {message}"):
            ShardedIndex.build(shifted, out, **arguments)
    for n_bits in (0, 4097):
        with pytest.raises(ValueError, match=f"^ShardedIndex.build: expected n_bits from 1 to 4096, got {n_bits}"):
            ShardedIndex.build(source, out, n_shards=1, n_bits=n_bits)
    for width in (0, 513):
        none = save_codes(tmp_path / f"width-{width}", np.zeros((3, width), np.uint8))
        with pytest.raises(ValueError, match=rf"build: expected codes uint8 \[n, 1 to 512\] at .*, {width}\]"):
            ShardedIndex.build(none, out, n_shards=1)
    with pytest.raises(ValueError, match="^ShardedIndex.build: expected folder to be another than codes_folder, got"):
        ShardedIndex.build(source, f"{source}/", n_shards=1)
    assert len(list(source.iterdir())) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected a folder with manifest.json, which encode_files writes last"):
        ShardedIndex.build(tmp_path / "empty", out, n_shards=1)
    np.save(source / "9.npy", codes[:, :2])
    with pytest.raises(ValueError, match=r"expected codes uint8 \[n, 4\] at .*9.npy, got uint8 \[3000, 2\]"):
        ShardedIndex.build(source, out, n_shards=1)
    (source / "9.npy").write_bytes((source / "1.npy").read_bytes()[:-3])
    with pytest.raises(ValueError, match="expected an array of numpy.save at .*9.npy, got"):
        ShardedIndex.build(source, out, n_shards=1)
    with pytest.raises(ValueError, match="expected folder to be a folder of a file system that is mounted, got s3://x"):
        ShardedIndex.build(source, "s3://x", n_shards=1)
    with pytest.raises(ValueError, match="ShardedIndex.open: expected replicas and actors only with engine 'ray'"):
        ShardedIndex.open(ShardedIndex.build(tmp_path / "wide", out, n_shards=2).folder, replicas=2)


def test_a_damaged_part_of_codes_is_named(tmp_path, codes):
    source = encoded_folder(tmp_path / "codes", codes, IDS)
    part = sorted(source.glob("*.parquet"))[2]
    other = sorted(source.glob("*.parquet"))[1]
    part.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match=f"ShardedIndex.build: expected .* codes with .* checksum at .*{part.name}"):
        ShardedIndex.build(source, tmp_path / "index", n_shards=2)
    part.write_bytes(part.read_bytes()[:500])
    with pytest.raises(
        ValueError, match=f"ShardedIndex.build: expected a whole Parquet file of codes at .*{part.name}"
    ):
        ShardedIndex.build(source, tmp_path / "index", n_shards=2)
    part.unlink()
    with pytest.raises(FileNotFoundError, match=part.name):
        ShardedIndex.build(source, tmp_path / "index", n_shards=2)


KILLED = """
import os, signal, sys
from fasthash.cluster import ShardedIndex
from tests.cluster.conftest import near_codes

folder, change = sys.argv[1:]

def ended_at(last):
    index, lines = ShardedIndex.open(folder), 0

    def trace(frame, event, argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(("cluster/folders.py", "fasthash/files.py")):
            return None
        lines += event == "line"
        if lines == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    if (child := os.fork()) == 0:
        sys.settrace(trace)
        if change == "add":
            index.add(near_codes(1))
        elif change == "remove":
            index.remove([0])
        elif change == "upsert":
            index.upsert(near_codes(1), [0])
        else:
            index.rebalance(3)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0

for last in range(5, 1000, 15):
    finished = ended_at(last)
    index = ShardedIndex.open(folder, verify=True)
    print(finished, index.manifest.version, len(index), index.get(range(1, 3000)).sum(), flush=True)
    if index.manifest.version:
        break
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "n_after"), [("add", 3001), ("remove", 2999), ("upsert", 3000), ("rebalance", 3000)]
)
def test_a_killed_change_leaves_the_old_index_or_the_new_one(build, codes, change, n_after):
    """Killed at lines of what writes files and the manifest, until one leaves the new index."""
    command = [sys.executable, "-c", KILLED, build(2).folder, change]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) > 3
    total = codes[1:].sum()
    assert lines[:-1] == [f"False 0 3000 {total}"] * (len(lines) - 1)
    assert lines[-1].split()[1:] == ["1", str(n_after), str(total)]
