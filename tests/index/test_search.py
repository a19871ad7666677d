from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.index.codes import CodeRows
from fasthash.index.contents import Contents
from fasthash.index.search import Search
from tests.index.conftest import random_codes

CODES, QUERIES = (torch.from_numpy(random_codes(n, seed=n)) for n in (60, 3))


def search(**options):
    contents = Contents(CodeRows.empty(4, torch.device("cpu"))).added("add", CODES, None)
    return Search("search", contents, QUERIES, 0, **options)


@pytest.mark.parametrize("few", [[], [7], [0, 3, 4, 59], range(60)])
def test_the_few_are_those_of_a_mask(few):
    flags = np.isin(np.arange(60), few)
    expected = fh.hamming_topk(QUERIES, CODES, 6, mask=flags)
    within = fh.hamming_radius(QUERIES, CODES, 3, mask=flags)
    bits = torch.from_numpy(np.packbits(flags, bitorder="little"))
    for options in ({"few": torch.tensor(list(few), dtype=torch.int64)}, {"mask": bits}):
        for found, wanted in ((search(**options).nearest(6), expected), (search(**options).within(3), within)):
            for ours, theirs in zip(found, wanted, strict=True):
                assert torch.equal(ours, theirs)


def test_all_are_compared_where_none_are_named():
    for ours, theirs in zip(search().nearest(4), fh.hamming_topk(QUERIES, CODES, 4), strict=True):
        assert torch.equal(ours, theirs)
