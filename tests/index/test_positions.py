from __future__ import annotations

import pytest
import torch

from fasthash.index.positions import Positions, are_live


def tensor(values):
    return torch.tensor(list(values), dtype=torch.int64)


def table(positions):
    return positions._table


def test_ascending_ids_need_no_table():
    positions, ids = Positions(), tensor(range(0, 3000, 3))
    assert positions.admit(ids[:400], 0, None, "add") == -1
    assert positions.admit(ids, 400, None, "add") == -1
    assert positions.find(ids, None, tensor([0, 3, 4, 2997, 3000, -1]), "get").tolist() == [0, 1, -1, 999, -1, -1]
    assert table(positions) is None


@pytest.mark.parametrize("new", [[5], [9, 8], [9, 9], [7]])
def test_others_do(new):
    positions, ids = Positions(), tensor([5, 7])
    assert positions.admit(ids, 0, None, "add") == -1
    found = positions.admit(tensor([5, 7, *new]), 2, None, "add")
    assert found == {5: 2, 7: 2}.get(new[0], -1 if len(set(new)) == 2 else 3)
    assert table(positions) is not None
    assert positions.find(ids, None, tensor([7, 5, 9]), "get").tolist() == [1, 0, -1]
    assert positions.admit(tensor([5, 7, 1]), 2, None, "add") == -1  # what was refused is forgotten
    assert positions.find(tensor([5, 7, 1]), None, tensor([1, 8, 9]), "get").tolist() == [2, -1, -1]


@pytest.mark.parametrize("order", [1, -1])
def test_removed_ids_are_not_found_and_come_back(order):
    positions, ids = Positions(), tensor(range(20)[::order])
    assert positions.admit(ids, 0, None, "add") == -1
    live = torch.tensor([0b11111101, 255, 255], dtype=torch.uint8)
    at_1 = ids[1:2]
    assert positions.find(ids, live, at_1, "get").tolist() == [-1]
    again = torch.cat([ids, at_1])
    assert positions.admit(again, 20, live, "add") == -1
    assert positions.find(again, live, tensor(again[1:3]), "get").tolist() == [20, 2]
    assert positions.admit(torch.cat([again, at_1]), 21, live, "add") == 21


def test_a_table_grows_and_forgets_what_was_removed():
    positions, ids = Positions(), tensor([3, 1])
    live = torch.tensor([0b11111110], dtype=torch.uint8)
    assert positions.admit(ids, 0, None, "add") == -1
    small = len(table(positions)[0])
    for i in range(100):
        ids = torch.cat([ids, tensor([3 if i == 0 else 10**6 - i])])
        assert positions.admit(ids, len(ids) - 1, live, "add") == -1
    assert len(table(positions)[0]) > small
    assert torch.equal(positions.find(ids, live, ids[1:], "get"), torch.arange(1, 102))
    assert positions.find(ids, live, ids[:1], "get").tolist() == [2]


def test_ids_that_repeat_are_told_by_the_first_who_needs_them():
    with pytest.raises(ValueError, match=r"^FlatIndex.get: expected an index whose ids are distinct, got 4 twice"):
        Positions().find(tensor([4, 9, 4]), None, tensor([9]), "FlatIndex.get")


def test_are_live():
    live = torch.tensor([0b00000101, 0b10000000], dtype=torch.uint8)
    assert are_live(live, tensor([0, 1, 2, 3, 7, 8, 15, 16, 100])).tolist() == [
        True, False, True, False, False, False, True, True, True
    ]  # fmt: skip
