from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasthash.index.codes import CodeRows
from fasthash.index.contents import Contents
from tests.index.conftest import random_codes


def codes(n, seed=0):
    return torch.from_numpy(random_codes(n, seed=seed))


def empty():
    return Contents(CodeRows.empty(4, torch.device("cpu")))


@given(st.data())
def test_changes_are_those_of_a_list(data):
    """Contents that others followed from stay what they were."""
    contents, model, next_id, seen = empty(), [], 0, []
    given_ids = data.draw(st.booleans())
    for step in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            new, ids = codes(data.draw(st.integers(0, 9)), seed=step), None
            if given_ids:
                free = st.sampled_from(sorted({*range(-50, 50)} - {i for i, _ in model}))
                ids = data.draw(st.lists(free, min_size=len(new), max_size=len(new), unique=True))
            contents = contents.added("add", new, None if ids is None else torch.tensor(ids, dtype=torch.int64))
            model = model + list(zip(ids or range(next_id, next_id + len(new)), new.tolist(), strict=True))
            next_id += len(new)
        else:
            removed = data.draw(st.sets(st.sampled_from([i for i, _ in model]))) if model else set()
            at = contents.find("remove", torch.tensor(sorted(removed), dtype=torch.int64))
            assert (at >= 0).all()
            contents = contents.removed(at)
            model = [(i, code) for i, code in model if i not in removed]
        at = contents.find("get", contents.live_ids)
        assert contents.ids_at(at).tolist() == [i for i, _ in model]
        assert contents.ranks(at).tolist() == list(range(len(model)))
        assert contents.find("get", torch.tensor([-60, 10**6])).tolist() == [-1, -1]
        seen.append((contents, model))
    for contents, model in seen:
        assert len(contents) == len(model)
        assert contents.live_ids.tolist() == [i for i, _ in model]
        assert contents.live_codes.tolist() == [code for _, code in model]
        assert contents.n_live(len(contents.codes)) == len(model)


def test_removed_codes_stay_until_they_are_an_eighth():
    contents = empty().added("add", codes(80), None)
    few = contents.removed(torch.arange(10))
    assert (len(few.codes), len(few), few.arrangement) == (80, 70, contents.arrangement)
    more = few.removed(torch.tensor([79]))
    assert (len(more.codes), len(more), more.live) == (69, 69, None)
    assert more.arrangement is not contents.arrangement
    assert more.added("add", codes(1), None).live_ids.tolist() == [*range(10, 79), 80]
    assert contents.removed(torch.tensor([], dtype=torch.int64)) is contents


def test_masks_are_of_the_codes_that_are_left():
    contents = empty().added("add", codes(20), None).removed(torch.tensor([0, 5]))
    eligible = np.arange(18) % 2 == 0
    expected = np.zeros(20, dtype=bool)
    expected[contents.live_ids.numpy()] = eligible
    for mask in (torch.from_numpy(eligible), torch.from_numpy(np.packbits(eligible, bitorder="little"))):
        bits = contents.mask("search", mask)
        assert np.unpackbits(bits.numpy(), bitorder="little")[:20].tolist() == expected.tolist()
    assert contents.eligible.tolist() == [0b11011110, 255, 255]
    assert contents.mask_of(torch.tensor([1, 19])).tolist() == [2, 0, 8]
    with pytest.raises(ValueError, match=r"search: expected mask of shape \[18\] for 18 codes, got \[20\]"):
        contents.mask("search", torch.ones(20, dtype=torch.bool))
    longer = contents.added("add", codes(9), None)
    assert longer.eligible.tolist() == [0b11011110, 255, 255, 255]
    assert longer.added("add", codes(1), None).live_ids.tolist() == [*range(1, 5), *range(6, 30)]


def test_copies_for_another_index_do_not_share_what_is_added():
    contents = empty().added("add", codes(20), None).added("add", codes(1), None)
    other = contents.unshared()
    mine, theirs = contents.added("add", codes(3, seed=1), None), other.added("add", codes(3, seed=2), None)
    assert torch.equal(mine.live_codes[-3:], codes(3, seed=1))
    assert torch.equal(theirs.live_codes[-3:], codes(3, seed=2))
    assert other.codes.rows.data_ptr() == contents.codes.rows.data_ptr()


def test_a_mask_of_many_codes_passes_over_the_removed_ones():
    """Of several blocks."""
    n = 50_000
    contents = empty().added("add", codes(n), None).removed(torch.tensor([0, 16_383, 16_384, 40_001]))
    eligible = np.random.default_rng(0).random(n - 4) < 0.5
    expected = np.zeros(n, dtype=bool)
    expected[contents.live_ids.numpy()] = eligible
    bits = contents.mask("search", torch.from_numpy(eligible))
    np.testing.assert_array_equal(np.unpackbits(bits.numpy(), bitorder="little")[:n], expected)
