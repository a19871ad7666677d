"""Files of true neighbours, byte for byte as big-ann-benchmarks reads and writes them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.data import read_ground_truth, read_range_ground_truth, write_ground_truth

IDS = np.array([[4, 1, 0], [2, 3, 5]])
DISTANCES = np.array([[0.5, 1, 2], [-1, 0, 7]], np.float32)
OFFSETS = np.array([0, 2, 2, 3])


def nearest(path, ids=IDS, distances=DISTANCES, counts=None):
    """Counts, then all ids, then all distances: that project's `usbin_write` and `knn_result_read`."""
    with path.open("wb") as file:
        np.array(counts or ids.shape, "<u4").tofile(file)
        ids.astype("<i4").tofile(file)
        distances.astype("<f4").tofile(file)


def within(path, counts, ids, distances, head=None):
    """Both counts, the hits of each query, all ids, all distances: that project's `range_result_read`."""
    with path.open("wb") as file:
        np.array(head or [len(counts), len(ids)], "<i4").tofile(file)
        np.array(counts, "<i4").tofile(file)
        np.array(ids, "<i4").tofile(file)
        np.array(distances, "<f4").tofile(file)


def test_the_nearest_are_read_and_written(tmp_path):
    nearest(tmp_path / "theirs.bin")
    hits = read_ground_truth(tmp_path / "theirs.bin")
    assert isinstance(hits, fh.Hits)
    np.testing.assert_array_equal(hits.ids, IDS)
    np.testing.assert_array_equal(hits.distances, DISTANCES)
    assert (hits.ids.dtype, hits.distances.dtype) == (np.int64, np.float32)
    write_ground_truth(str(tmp_path / "ours.bin"), hits)
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


def test_hits_within_a_radius_are_read_and_written(tmp_path):
    within(tmp_path / "theirs.bin", [2, 0, 1], [7, 3, 9], [1, 2, 0.5])
    hits = read_range_ground_truth(tmp_path / "theirs.bin")
    assert isinstance(hits, fh.RadiusHits)
    np.testing.assert_array_equal(hits.offsets, OFFSETS)
    np.testing.assert_array_equal(hits.ids, [7, 3, 9])
    np.testing.assert_array_equal(hits.distances, np.float32([1, 2, 0.5]))
    assert (hits.offsets.dtype, hits.ids.dtype, hits.distances.dtype) == (np.int64, np.int64, np.float32)
    write_ground_truth(tmp_path / "ours.bin", hits)
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
def test_what_a_search_finds_is_written_and_read(tmp_path, form):
    rng = np.random.default_rng(0)
    codes, queries = (form(rng.integers(0, 256, (n, 4), dtype=np.uint8)) for n in (50, 6))
    found = fh.hamming_topk(queries, codes, 60)  # of which ten rows have no code
    write_ground_truth(tmp_path / "x.bin", found)
    read = read_ground_truth(tmp_path / "x.bin")
    np.testing.assert_array_equal(read.ids, found.ids)
    np.testing.assert_array_equal(read.distances[:, :50], found.distances[:, :50])
    assert np.isposinf(read.distances[:, 50:]).all()
    found = fh.hamming_radius(queries, codes, 12)
    assert len(found.ids) > 0
    write_ground_truth(tmp_path / "x.bin", found)
    for read, given in zip(read_range_ground_truth(tmp_path / "x.bin"), found, strict=True):
        np.testing.assert_array_equal(read, given)


def test_of_no_queries_there_are_no_hits(tmp_path):
    empty = fh.hamming_topk(np.empty((0, 4), np.uint8), np.empty((3, 4), np.uint8), 2)
    write_ground_truth(tmp_path / "x.bin", empty)
    assert read_ground_truth(tmp_path / "x.bin").ids.shape == (0, 2)
    write_ground_truth(tmp_path / "x.bin", fh.RadiusHits(np.zeros(1, int), np.zeros(0), np.zeros(0, int)))
    assert read_range_ground_truth(tmp_path / "x.bin").offsets.tolist() == [0]


@pytest.mark.parametrize(
    ("read", "write", "message"),
    [
        (read_ground_truth, lambda path: path.write_bytes(b"1234"), "two counts and .*, got a file of 4 bytes"),
        (read_ground_truth, lambda path: nearest(path, counts=[2, 4]), "2 queries and 4 neighbours, 72 bytes, got 56"),
        (
            read_ground_truth,
            lambda path: path.write_bytes(np.array([2, 3, *IDS.ravel()], "<i4").tobytes()),
            "2 queries and 3 neighbours, 56 bytes, got 32",
        ),
        (
            read_range_ground_truth,
            lambda path: within(path, [1, 1], [7, 3], [1, 2], [2, 3]),
            "2 queries and 3 ids and distances, 40 bytes, got 32",
        ),
        (read_range_ground_truth, lambda path: within(path, [1, 0], [7, 3], [1, 2]), "numbers of hits of sum 2"),
        (read_range_ground_truth, lambda path: within(path, [3, -1], [7, 3], [1, 2]), "numbers of hits of sum 2"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(tmp_path, read, write, message):
    write(tmp_path / "x.bin")
    with pytest.raises(ValueError, match=f"^{read.__name__}: {re.escape(str(tmp_path))}/x.bin: expected .*{message}"):
        read(tmp_path / "x.bin")


@pytest.mark.parametrize("call", [read_ground_truth, read_range_ground_truth])
def test_a_missing_file_and_what_is_no_path(tmp_path, call):
    with pytest.raises(FileNotFoundError, match=r"x\.bin"):
        call(tmp_path / "x.bin")
    with pytest.raises(TypeError, match=f"^{call.__name__}: expected path to be a string or a path, got int"):
        call(3)


@pytest.mark.parametrize(
    ("hits", "error", "message"),
    [
        ((DISTANCES, IDS), TypeError, "expected hits to be Hits or RadiusHits, got tuple"),
        (fh.Hits(DISTANCES, IDS[:1]), ValueError, r"expected hits as a search returns them, got distances float32 \["),
        (fh.Hits(DISTANCES, IDS * 0.5), ValueError, "expected hits as a search returns them, got .*ids float64"),
        (fh.Hits(DISTANCES[0], IDS[0]), ValueError, "expected hits as a search returns them"),
        (
            fh.Hits(DISTANCES, IDS + 2**31),
            ValueError,
            r"expected hits with ids from -1 to 2\^31 - 1, got 2147483648 to",
        ),
        (fh.Hits(DISTANCES, IDS - 2), ValueError, r"expected hits with ids from -1 to 2\^31 - 1, got -2 to"),
        (fh.RadiusHits(OFFSETS, DISTANCES[0], IDS[0] - 1), ValueError, "expected hits with ids from 0 to .*, got -1"),
        (fh.RadiusHits(OFFSETS[:-1], DISTANCES[0], IDS[0]), ValueError, "expected hits with offsets from 0 to 3"),
        (fh.RadiusHits(OFFSETS[::-1], DISTANCES[0], IDS[0]), ValueError, "expected hits with offsets from 0 to 3"),
        (
            fh.RadiusHits(np.array([0, 3, 2, 3], np.uint64), DISTANCES[0], IDS[0]),
            ValueError,
            "expected hits with offsets from 0 to 3 that ascend",
        ),
        *(
            (fh.RadiusHits(offsets, DISTANCES[0], IDS[0]), ValueError, f"expected hits with offsets of .*, got {got}")
            for offsets, got in (
                (OFFSETS[:0], r"int64 \[0\]"),
                (OFFSETS[3], r"int64 \[\]"),
                (OFFSETS[None], r"int64 \[1, 4\]"),
                (OFFSETS * 1.0, r"float64 \[4\]"),
            )
        ),
    ],
)
def test_hits_that_cannot_be_are_refused(tmp_path, hits, error, message):
    with pytest.raises(error, match=f"^write_ground_truth: {message}"):
        write_ground_truth(tmp_path / "x.bin", hits)
    assert list(tmp_path.iterdir()) == []
