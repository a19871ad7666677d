from __future__ import annotations

import pytest
import torch

from fasthash.index.rows import Rows
from fasthash.index.storage import ALIGNMENT

CPU = torch.device("cpu")


def rows_of(n, first=0):
    return torch.arange(first, first + 3 * n).view(n, 3)


def test_extended_rows_are_those_before_and_more():
    rows, expected = Rows.empty((3,), torch.int64, CPU), torch.empty((0, 3), dtype=torch.int64)
    for n in (0, 1, 5, 2, 100):
        expected = torch.cat([expected, rows_of(n, n)])
        rows = rows.extended(rows_of(n, n))
        assert torch.equal(rows.rows, expected)
        assert len(rows) == len(expected)


def test_memory_doubles_and_is_aligned():
    rows, begins = Rows.empty((3,), torch.int64, CPU), set()
    for _ in range(1000):
        rows = rows.extended(rows_of(1))
        begins.add(rows.rows.data_ptr())
    assert len(begins) <= 11
    assert all(begin % ALIGNMENT == 0 for begin in begins)


def test_rows_stay_as_they_are():
    first = Rows.empty((3,), torch.int64, CPU).extended(rows_of(4))
    second = first.extended(rows_of(1, 50))  # makes room for more
    third, other = second.extended(rows_of(1, 70)), second.unshared().extended(rows_of(1, 90))
    assert torch.equal(first.rows, rows_of(4))
    assert torch.equal(second.rows, torch.cat([rows_of(4), rows_of(1, 50)]))
    assert third.rows[-1].tolist() == [70, 71, 72]
    assert other.rows[-1].tolist() == [90, 91, 92]
    assert third.rows.data_ptr() == second.rows.data_ptr() != other.rows.data_ptr()


def test_what_is_not_there_is_not_extended_by_halves(monkeypatch):
    rows = Rows.empty((3,), torch.int64, CPU).extended(rows_of(4))

    def no_memory(*args, **options):
        raise MemoryError

    monkeypatch.setattr("fasthash.index.rows.np.empty", no_memory)
    with pytest.raises(MemoryError):
        rows.extended(rows_of(100))
    assert torch.equal(rows.rows, rows_of(4))
