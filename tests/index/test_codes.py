"""Codes one after the other and as bit planes: both are a list of codes."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.index.codes import CodePlanes, CodeRows
from fasthash.ops.planes import BLOCK_CODES

CPU = torch.device("cpu")
KINDS = pytest.mark.parametrize("kind", [CodeRows, CodePlanes])


def random_codes(n, width=5, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, width), dtype=np.uint8))


@KINDS
@pytest.mark.parametrize("sizes", [[0], [3], [1, 0, 7, 9], [BLOCK_CODES - 1, 2, BLOCK_CODES, 5]])
def test_what_was_added_is_there(kind, sizes):
    codes, all_codes, seen = kind.empty(5, CPU), random_codes(0), []
    for seed, n in enumerate(sizes):
        more = random_codes(n, seed=seed)
        codes, all_codes = codes.extended(more), torch.cat([all_codes, more])
        seen.append((codes, all_codes))
    for codes, all_codes in seen:  # those that were extended are what they were
        n = len(all_codes)
        assert (len(codes), codes.width, codes.device) == (n, 5, CPU)
        assert torch.equal(codes.rows, all_codes)
        assert torch.equal(codes.between(n // 3, n), all_codes[n // 3 :])
        at = torch.from_numpy(np.random.default_rng(0).permutation(n)[:50])
        assert torch.equal(codes.at(at), all_codes[at])
        again = kind.of_file(codes.for_file(), n, 5)
        assert torch.equal(again.rows, all_codes)


@KINDS
def test_searches_are_those_of_the_ops(kind):
    n = BLOCK_CODES + 100
    rows, queries = random_codes(n), random_codes(7, seed=1)
    mask = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (n + 7) // 8, dtype=np.uint8))
    codes = kind.empty(5, CPU, n).extended(rows)
    for bits in (None, mask):
        found, expected = codes.nearest("search", queries, 9, bits, 1), fh.hamming_topk(queries, rows, 9, mask=bits)
        assert all(map(torch.equal, found, expected))
        found, expected = codes.within("search", queries, 11, bits, 1), fh.hamming_radius(queries, rows, 11, mask=bits)
        assert all(map(torch.equal, found, expected))


@KINDS
def test_copies_for_another_index_do_not_share_what_is_added(kind):
    codes = kind.empty(5, CPU, 100).extended(random_codes(20))
    other = codes.unshared()
    mine, theirs = codes.extended(random_codes(3, seed=1)), other.extended(random_codes(3, seed=2))
    assert torch.equal(mine.rows[20:], random_codes(3, seed=1))
    assert torch.equal(theirs.rows[20:], random_codes(3, seed=2))
    assert other.memory.data_ptr() == codes.memory.data_ptr()


@KINDS
def test_memory_of_another_shape_is_refused(kind):
    memory = kind.empty(5, CPU).extended(random_codes(20)).memory
    with pytest.raises(ValueError, match=f"{kind.SECTION} are uint8 .*, not uint8"):
        kind.of_file(memory, 20, 6)
    with pytest.raises(ValueError, match=f"{kind.SECTION} are int8"):
        kind.of_file(memory.view(torch.int8), 20, 5)


@pytest.mark.parametrize("n", [20, BLOCK_CODES, BLOCK_CODES + 3])
def test_counts_are_compared_with_the_codes(n):
    codes = CodePlanes.empty(5, CPU).extended(random_codes(n))
    codes.check_counts()
    first = CodePlanes(codes.memory, n - 3, 5)  # bits of codes that a change had added before it broke off
    first.check_counts()
    codes.memory[-1, 42, 0] ^= 2
    with pytest.raises(ValueError, match="its planes of counts are not those of its codes"):
        codes.check_counts()


def test_a_file_of_planes_with_wrong_counts_is_told(tmp_path):
    index = fh.FlatIndex(40, layout="planes")
    index.add(random_codes(20))
    index._contents.codes.memory[0, 42, 0] ^= 2
    index.save(tmp_path / "index")
    fh.load_index(tmp_path / "index")
    with pytest.raises(ValueError, match="got one that cannot be: its planes of counts are not those of its codes"):
        fh.load_index(tmp_path / "index", verify=True)


def test_planes_are_on_the_cpu():
    with pytest.raises(ValueError, match="FlatIndex: expected layout to be one of 'rows', 'planes', got 'columns'"):
        fh.FlatIndex(32, layout="columns")


def test_a_file_has_nothing_of_what_is_added_while_it_is_written():
    """As the last block of planes has, in which there are places left."""
    index = fh.FlatIndex(8, layout="planes")
    index.add(random_codes(3, 1))
    other = copy.copy(index)
    before = other.to_bytes()

    class Growing(io.BytesIO):
        def write(self, data):
            index.add(random_codes(1, 1, seed=1))
            return super().write(data)

    file = Growing()
    index.save(file)
    assert file.getvalue() == before == other.to_bytes()
    assert len(fh.index.from_bytes(file.getvalue(), verify=True)) == 3
    assert len(index) > 3


@pytest.mark.parametrize("n", [1, 8, 9, BLOCK_CODES - 1, BLOCK_CODES, BLOCK_CODES + 8])
def test_places_behind_the_last_code_are_empty_in_a_file(n):
    codes = CodePlanes.empty(5, CPU).extended(random_codes(n))
    codes.extended(random_codes(20, seed=1))
    assert torch.equal(codes.for_file(), CodePlanes.empty(5, CPU).extended(random_codes(n)).memory)
