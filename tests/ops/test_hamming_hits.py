from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from tests.conftest import named


def codes(n, seed=0):
    """Two values a byte: many ties."""
    return np.random.default_rng(seed).integers(0, 2, (n, 4), dtype=np.uint8)


def shards(search, all_codes, sizes):
    """What a search finds in each of several parts, with ids that count through them."""
    found, first = [], 0
    for size in sizes:
        part = search(all_codes[first : first + size])
        found.append(part._replace(ids=np.where(part.ids < 0, -1, part.ids + first)))
        first += size
    return found


@pytest.mark.parametrize("sizes", [[40], [13, 27], [1, 0, 30, 9]])
@pytest.mark.parametrize("as_tensors", [False, True])
def test_merged_hits_are_those_of_one_search(sizes, as_tensors):
    queries, everything = codes(5, seed=1), codes(40)
    for search in (
        lambda part: fh.hamming_topk(queries, part, 7),
        lambda part: fh.hamming_topk(queries, part, 60),
        lambda part: fh.hamming_radius(queries, part, 1),
    ):
        expected, parts = search(everything), shards(search, everything, sizes)
        if as_tensors:
            parts = [type(part)(*map(torch.from_numpy, part)) for part in parts]
        merged = fh.merge_hits(parts)
        assert type(merged) is type(expected)
        for ours, theirs in zip(merged, expected, strict=True):
            assert isinstance(ours, torch.Tensor) == as_tensors
            np.testing.assert_array_equal(ours, theirs)
            assert np.asarray(ours).dtype == theirs.dtype


def test_k_cuts_or_pads():
    part = fh.Hits(np.array([[1, 3]], np.int32), np.array([[5, 6]]))
    other = fh.Hits(np.array([[1, 2, 2**31 - 1]], np.int32), np.array([[9, 8, -1]]))
    assert fh.merge_hits([part, other], 2).ids.tolist() == [[5, 9]]
    assert fh.merge_hits([other, part], 2).ids.tolist() == [[9, 5]]
    padded = fh.merge_hits([part, other], 7)
    assert padded.ids.tolist() == [[5, 9, 8, 6, -1, -1, -1]]
    assert padded.distances.tolist() == [[1, 1, 2, 3] + [2**31 - 1] * 3]
    reranked = fh.Hits(np.array([[-2.5, np.inf]]), np.array([[5, -1]]))
    merged = fh.merge_hits([reranked, reranked], 5)
    assert merged.distances.tolist() == [[-2.5, -2.5] + [np.inf] * 3]
    assert merged.ids.tolist() == [[5, 5, -1, -1, -1]]
    far = fh.Hits(np.array([[-3.5, np.inf, np.inf]]), np.array([[-7, 8, -9]]))
    assert fh.merge_hits([reranked, far], 4).ids.tolist() == [[-7, 5, 8, -9]]


HITS = fh.Hits(np.zeros((2, 3), np.int32), np.zeros((2, 3), np.int64))
WITHIN = fh.RadiusHits(np.array([0, 1, 2]), np.zeros(2, np.int32), np.zeros(2, np.int64))


@pytest.mark.parametrize(
    ("parts", "k", "error", "message"),
    [
        ([], 1, ValueError, "expected at least one of parts, got none"),
        (3, 1, TypeError, "expected parts to be a list or tuple, got int"),
        (HITS, 1, TypeError, r"expected parts\[0\] to be Hits or RadiusHits, got ndarray"),
        ([3], 1, TypeError, r"expected parts\[0\] to be Hits or RadiusHits, got int"),
        ([HITS, WITHIN], 1, TypeError, r"expected parts\[1\] to be Hits, as parts\[0\] is, got RadiusHits"),
        ([WITHIN, HITS], None, TypeError, r"expected parts\[1\] to be RadiusHits, as parts\[0\] is, got Hits"),
        ([HITS], 0, ValueError, "expected k at least 1, got 0"),
        ([WITHIN], 3, ValueError, "expected no k for RadiusHits, got 3"),
        (
            [HITS, HITS._replace(distances=np.zeros((2, 3)))],
            1,
            TypeError,
            r"parts\[1\].distances of int32 on cpu, .*got",
        ),
        ([HITS, fh.Hits(*(x[:1] for x in HITS))], 1, ValueError, r"expected parts\[1\] of 2 queries, .* got 1"),
        (
            [HITS._replace(ids=np.zeros((2, 2), np.int64))],
            1,
            ValueError,
            r"as a search returns it, got distances \[2, 3\]",
        ),
        ([WITHIN._replace(offsets=np.array([0.0, 1, 2]))], None, TypeError, "offsets of int32 or int64, got float64"),
        (
            [WITHIN._replace(offsets=WITHIN.offsets.astype(np.uint64))],
            None,
            TypeError,
            r"expected parts\[0\]\.offsets of int32 or int64, got uint64",
        ),
        ([WITHIN._replace(offsets=np.array([0, 1]))], None, ValueError, r"parts\[0\] as a search returns it"),
        ([WITHIN._replace(offsets=np.array([0, 3, 2]))], None, ValueError, r"parts\[0\] as a search returns it"),
    ],
    ids=named,
)
def test_errors(parts, k, error, message):
    with pytest.raises(error, match=f"^merge_hits: .*{message}"):
        fh.merge_hits(parts, k)
