from __future__ import annotations

import itertools

import pytest
import torch

from fasthash.recipes.ranks import joined_ranks, seed_epoch


def drawn(*arguments):
    seed_epoch(*arguments)
    return torch.randint(0, 2**40, ()).item()


def test_every_epoch_of_every_seed_and_rank_draws_other_numbers():
    where = list(itertools.product(range(3), range(3), range(3)))
    assert len({drawn(*at) for at in where}) == len(where)
    assert drawn(1, 2) == drawn(1, 2, 0)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_one_process_joins_nobody(device, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with joined_ranks(device) as joined:
        assert joined == (torch.device("cpu"), 0, 1)
        assert not torch.distributed.is_initialized()


def test_a_rank_takes_its_own_gpu(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with joined_ranks("auto") as (device, _, _):
        assert device == torch.device("cuda", 3)
    with joined_ranks("cpu") as (device, _, _):
        assert device == torch.device("cpu")
