from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.index.positions import Positions, are_live


def tensor(values):
    return torch.tensor(list(values), dtype=torch.int64)


def bits(*values):
    return torch.tensor(values, dtype=torch.uint8)


def extended(positions, ids, first, live=None, kept=None):
    return positions.extended(ids, first, live, kept, "add")


def test_ascending_ids_need_no_table():
    positions, ids = Positions(), tensor(range(0, 3000, 3))
    assert extended(positions, ids[:400], 0) is positions
    assert extended(positions, ids, 400) is positions
    assert positions.find(ids, None, tensor([0, 3, 4, 2997, 3000, -1]), "get").tolist() == [0, 1, -1, 999, -1, -1]
    assert positions._table is None


@pytest.mark.parametrize("new", [[5], [9, 8], [9, 9], [7]])
def test_others_do(new):
    positions, ids = Positions(), tensor([5, 7])
    assert extended(positions, ids, 0) is positions
    repeated = {5: 5, 7: 7}.get(new[0], 9 if len(set(new)) == 1 else None)
    if repeated is None:
        more = extended(positions, tensor([5, 7, *new]), 2)
        assert more.find(tensor([5, 7, *new]), None, tensor([7, 5, 8]), "get").tolist() == [1, 0, 3]
    else:
        with pytest.raises(ValueError, match=f"^add: expected ids that are new, got {repeated} again$"):
            extended(positions, tensor([5, 7, *new]), 2)
    assert positions._table is None  # what was refused leaves nothing
    more = extended(positions, tensor([5, 7, 1]), 2)
    assert more._table is not None
    assert more.find(tensor([5, 7, 1]), None, tensor([1, 8, 9]), "get").tolist() == [2, -1, -1]
    assert positions.find(ids, None, tensor([7, 5, 9]), "get").tolist() == [1, 0, -1]


@pytest.mark.parametrize("order", [1, -1])
def test_removed_ids_are_not_found_and_come_back(order):
    ids = tensor(range(20)[::order])
    positions = extended(Positions(), ids, 0)
    live = bits(0b11111101, 255, 255)
    at_1 = ids[1:2]
    assert positions.find(ids, live, at_1, "get").tolist() == [-1]
    again = torch.cat([ids, at_1])
    positions = extended(positions, again, 20, live)
    assert positions.find(again, live, tensor(again[1:3]), "get").tolist() == [20, 2]
    with pytest.raises(ValueError, match=f"got {int(at_1)} again"):
        extended(positions, torch.cat([again, at_1]), 21, live)


def test_a_change_that_breaks_off_leaves_what_is_kept():
    """Id 9 is replaced twice, the second time in vain: it is where the first time put it."""
    ids = tensor([9, 3, 9, 9])
    positions = extended(Positions(), ids[:2], 0)
    first = extended(positions, torch.tensor([9, 3, 5, 1]), 2)  # which needs a table
    ids_of_first = tensor([9, 3, 5, 1, 9])
    extended(first, ids_of_first, 4, bits(0b11111110), bits(255))
    assert first.find(ids_of_first[:4], bits(255), tensor([9, 1]), "get").tolist() == [0, 3]
    positions = extended(positions, ids[:3], 2, bits(0b11111110), bits(255))
    replaced = extended(positions, ids, 3, bits(0b11111010), bits(0b11111110))
    assert replaced.find(ids, bits(0b11111010), tensor([9, 3]), "get").tolist() == [3, 1]
    assert positions.find(ids[:3], bits(0b11111110), tensor([9, 3]), "get").tolist() == [2, 1]


def test_a_table_grows_and_forgets_what_was_removed():
    ids, live = tensor([3, 1]), bits(0b11111110)
    positions = extended(Positions(), ids, 0)
    small = len(positions._table.slots)
    for i in range(100):
        ids = torch.cat([ids, tensor([3 if i == 0 else 10**6 - i])])
        live = bits(0b11111110, *[255] * (len(ids) // 8))
        positions = extended(positions, ids, len(ids) - 1, live)
    assert len(positions._table.slots) > small
    assert torch.equal(positions.find(ids, live, ids[1:], "get"), torch.arange(1, 102))
    assert positions.find(ids, live, ids[:1], "get").tolist() == [2]


def test_ids_that_repeat_are_told_by_the_first_who_needs_them():
    with pytest.raises(ValueError, match=r"^FlatIndex.get: expected an index whose ids are distinct, got 4 twice"):
        Positions().find(tensor([4, 9, 4]), None, tensor([9]), "FlatIndex.get")


def test_are_live():
    live, positions = np.array([0b00000101, 0b10000000], np.uint8), np.array([0, 1, 2, 3, 7, 8, 15])
    assert are_live(live, positions).tolist() == [True, False, True, False, False, False, True]
