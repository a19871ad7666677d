from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash import _core
from fasthash.evaluate.counts import Retrieval
from fasthash.ops.hamming.reference import hamming_distance
from fasthash.ops.ranking.reference import relevance


@pytest.mark.parametrize("n_bits", [8, 64, 72, pytest.param(1024, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_labels", [0, 2, 5, 64, 65, 200])
def test_counts_at_every_level_are_those_of_torch(n_bits, n_labels, rng, monkeypatch):
    """Label 0 classes are single labels; a database of tiles, many of one code, and a rest; queries beyond a task."""
    n, q = 6225, 37
    codes, query_codes = (rng.integers(0, 256, (rows, n_bits // 8), dtype=np.uint8) for rows in (n, q))
    codes[:4200] = ~query_codes[0]
    codes[4200:4210] = query_codes[1]
    if n_labels:
        labels, query_labels = (rng.random((rows, n_labels)) < 2 / n_labels for rows in (n, q))
    else:
        labels, query_labels = rng.integers(-2, 3, n), rng.integers(-2, 3, q)
    retrieval = Retrieval("test", query_codes, query_labels, codes, labels)
    bins = torch.arange(n_bits + 1)
    expected = []
    for i in range(q):
        distances = hamming_distance(*map(torch.from_numpy, (query_codes[i : i + 1], codes)))
        relevant = relevance(*map(torch.from_numpy, (query_labels[i : i + 1], labels)))
        same = distances[:, None, :] == bins[:, None]
        expected.append((same.sum(2), (same & relevant[:, None]).sum(2)))
    for isa in _core.runnable_isas():
        monkeypatch.setenv("FASTHASH_ISA", isa)
        for found, parts in zip(retrieval.counts(), zip(*expected, strict=True), strict=True):
            assert torch.equal(found, torch.cat(parts)), isa


def test_leaving_one_out_whatever_torchs_default_device_is(rng):
    codes, labels = rng.integers(0, 256, (20, 2), dtype=np.uint8), rng.integers(0, 3, 20)
    expected = Retrieval("test", codes, labels, codes, labels, leave_one_out=True).counts()
    with torch.device("meta"):
        found = Retrieval("test", codes, labels, codes, labels, leave_one_out=True).counts()
    assert all(map(torch.equal, found, expected))
