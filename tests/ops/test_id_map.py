from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash import _core
from fasthash.ops.id_map import KERNELS, find_ids, insert_ids, most_ids, new_table, reference
from tests.conftest import runnable_names

ALL = runnable_names(KERNELS, *KERNELS)
INT64 = st.integers(-(2**63), 2**63 - 1)


def tensor(values):
    return torch.tensor(list(values), dtype=torch.int64)


@pytest.mark.parametrize("kernel", ALL)
@given(st.data())
def test_kernels_agree_with_a_dictionary(kernel, data):
    """Ids come, also again, and go, as an index has them; lookups are of some that are there and some that are not."""
    pool = data.draw(st.lists(INT64, min_size=1, max_size=12, unique=True))
    ids, live, table = tensor([]), [], new_table(1)
    n_inserted = 0
    for _ in range(data.draw(st.integers(1, 8))):
        batch = data.draw(st.lists(st.sampled_from(pool), max_size=6))
        bits = torch.from_numpy(np.packbits(np.array([*live, *[True] * (-len(live) % 8)], bool), bitorder="little"))
        more = torch.cat([ids, tensor(batch)])
        if n_inserted + len(batch) > most_ids(table):
            table = new_table(2 * len(more))
            n_inserted = len(ids)
            assert insert_ids(table, ids, 0, bits, kernel=kernel) == -1
        n_inserted += len(batch)
        known = {int(i) for i, there in zip(ids, live, strict=True) if there}
        repeated = [j for j, i in enumerate(batch) if i in known or i in batch[:j]]
        found = insert_ids(table, more, len(ids), bits if live else None, kernel=kernel)
        # What a refused batch left may tell of a repeated id at the first of its two positions.
        assert found == -1 if not repeated else int(more[found]) in {batch[j] for j in repeated}
        if not repeated:
            ids, live = more, [*live, *[True] * len(batch)]
        for position in data.draw(st.sets(st.sampled_from(range(len(ids))))) if len(ids) else ():
            live[position] = False
        bits = torch.from_numpy(np.packbits(np.array(live, bool), bitorder="little"))
        expected = {int(ids[p]): p for p in range(len(ids)) if live[p]}
        positions = find_ids(table, ids, bits if live else None, tensor(pool), kernel=kernel)
        assert positions.tolist() == [expected.get(i, -1) for i in pool]


@pytest.mark.parametrize("kernel", ALL)
def test_no_ids(kernel):
    table = new_table(0)
    assert insert_ids(table, tensor([]), 0, kernel=kernel) == -1
    assert find_ids(table, tensor([]), None, tensor([3]), kernel=kernel).tolist() == [-1]
    assert find_ids(table, tensor([]), None, tensor([]), kernel=kernel).tolist() == []


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *(name for name in KERNELS if name != "reference")))
@pytest.mark.parametrize("step", [1, 8, 2**20, -(2**32), 2**33 + 1])
def test_ids_that_count_up_spread(kernel, step):
    """No run of filled slots is much longer than random ids make it."""
    n = 100_000
    ids = torch.arange(n) * step
    table = new_table(n)
    assert insert_ids(table, ids, 0, kernel=kernel) == -1
    assert torch.equal(find_ids(table, ids, None, ids, 2, kernel=kernel), torch.arange(n))
    empty = (table == -1).nonzero()[:, 0]
    assert int(empty.diff().max()) < 300
    assert len(empty) == len(table) - n


def test_a_table_has_the_room_it_says():
    for n in (0, 1, 2, 3, 96, 97, 10**6):
        table = new_table(n)
        assert most_ids(table) >= n
        assert len(table) & (len(table) - 1) == 0
    assert 8 / 0.75 <= 8 * len(new_table(10**6)) / 10**6 <= 2 * 8 / 0.75


def test_what_was_refused_does_no_harm():
    table, ids = new_table(10), tensor([7, 8, 7])
    assert insert_ids(table, ids, 0) == 2
    others = tensor([5, 6, 9, 8])  # at the positions of those that are in the table
    assert insert_ids(table, others, 0) == -1
    assert find_ids(table, others, None, tensor([7, 8, 5, 6, 9])).tolist() == [-1, 3, 0, 1, 2]
    assert find_ids(table, others[:2], None, tensor([9, 5])).tolist() == [-1, 0]


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, *(name for name in KERNELS if name != "reference")))
def test_an_id_that_comes_again_takes_the_slot_that_it_had(kernel):
    """Unless that is of a position which is kept."""
    table, n = new_table(40), 30
    ids = torch.full((n,), 12345)
    for position in range(n):
        kept = torch.from_numpy(np.packbits(np.arange(n) >= position - 1, bitorder="little"))
        live = torch.from_numpy(np.packbits(np.arange(n) >= position, bitorder="little"))
        assert insert_ids(table, ids[: position + 1], position, live, kept, kernel=kernel) == -1
        assert (table != -1).sum() == min(position + 1, 2)
        sought = ids[:1]
        assert find_ids(table, ids[: position + 1], live, sought, kernel=kernel).tolist() == [position]
        assert find_ids(table, ids[:position], kept, sought, kernel=kernel).tolist() == [position - 1]


def test_the_reference_needs_no_table():
    ids = tensor([4, 2, 4])
    assert reference.insert_ids(new_table(0), ids, 0, None, None) == 2
    assert reference.insert_ids(new_table(0), ids, 1, torch.tensor([0b110], dtype=torch.uint8), None) == -1


def test_errors():
    ids = tensor([1, 2])
    with pytest.raises(ValueError, match="Index.add: expected kernel to be one of 'reference', 'cpu', .* got 'x'"):
        insert_ids(new_table(2), ids, 0, kernel="x", where="Index.add")
    with pytest.raises(ValueError, match="id_map: expected tensors on a CPU, got meta"):
        find_ids(new_table(2), ids.to("meta"), None, ids)
    with pytest.raises(ValueError, match="id_map_insert: expected table of a power of two slots, got 3"):
        insert_ids(tensor([-1] * 3), ids, 0)
    with pytest.raises(ValueError, match="id_map_insert: expected first from 0 to 2, got 3"):
        insert_ids(new_table(2), ids, 3)
    with pytest.raises(ValueError, match=r"id_map_find: expected positions of shape \[2\], got \[1\]"):
        _core.id_map_find(new_table(2).numpy(), ids.numpy(), None, ids.numpy(), np.zeros(1, np.int64), 1, "")
