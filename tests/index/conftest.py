"""Codes, and indexes of every kind that hold them."""

from __future__ import annotations

import numpy as np
import pytest

import fasthash as fh


def flat_planes(n_bits):
    """An index as of a class of its own, whose codes lie otherwise."""
    return fh.FlatIndex(n_bits, layout="planes")


CLASSES = [fh.FlatIndex, fh.MultiIndex, flat_planes]


def random_codes(n, width=4, seed=0):
    """Two values a byte: many ties."""
    return np.random.default_rng(seed).integers(0, 2, (n, width), dtype=np.uint8)


@pytest.fixture(params=CLASSES)
def make(request):
    """The class of an index: what is tested here holds for each."""
    return request.param


@pytest.fixture
def index(make):
    index = make(32)
    index.add(random_codes(50))
    return index


def numbered(cls, n=50):
    index = cls(32)
    index.add(random_codes(n))
    return index


def with_holes(cls):
    index = numbered(cls)
    index.remove(np.array([3, 7, 49]))
    return index


def with_ids(cls):
    index = cls(32)
    index.add(random_codes(50), ids=np.random.default_rng(0).permutation(1000)[:50])
    return index


def emptied(cls):
    index = with_ids(cls)
    index.remove(index.ids)
    return index


def never_filled(cls):
    return cls(32)


def single(cls):
    return numbered(cls, 1)


FILLED = [numbered, with_holes, with_ids, emptied, never_filled, single]
