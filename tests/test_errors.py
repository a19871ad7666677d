"""An error begins with the function that the user called, whatever that calls in turn."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.hashers import LSH, SpectralHashing
from fasthash.layers import HouseholderRotation


def codes(n, n_bytes=4):
    return torch.randint(0, 256, (n, n_bytes), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))


def index(kind, **settings):
    made = kind(32, **settings)
    made.add(codes(50))
    return made


def built(**settings):
    made = index(fh.MultiIndex, **settings)
    made.build()
    return made


BAD = {
    "queries": ({"queries": codes(2, 5)}, "expected queries of 4 bytes a row (32 bits), got 5"),
    "queries dtype": ({"queries": codes(2).int()}, "expected queries of dtype uint8"),
    "mask": ({"mask": torch.ones(49, dtype=torch.bool)}, "expected mask of shape [50] for 50 codes, got [49]"),
    "mask bits": ({"mask": torch.ones(5, dtype=torch.uint8)}, "expected mask of shape [7] for 50 codes, got [5]"),
    "mask dtype": ({"mask": torch.ones(50)}, "expected mask of dtype bool [n] or uint8 [ceil(n / 8)], got float32"),
    "mask kind": ({"mask": ["a"]}, "expected mask to be a numeric array"),
    "threads": ({"threads": 0}, "expected threads from 1 to 4096, got 0"),
    "threads kind": ({"threads": 1.5}, "expected threads to be an integer, got float"),
}
BAD_K = {**BAD, "k": ({"k": 0}, "expected k at least 1, got 0"), "k kind": ({"k": 1.0}, "expected k to be an integer")}
SEARCHES = {
    "search": ({"k": 3}, BAD_K),
    "reranked search": ({"k": 3, "rerank": "asymmetric", "rerank_queries": torch.zeros(2, 32)}, BAD_K),
    "radius_search": ({"radius": 3}, {**BAD, "radius": ({"radius": -1}, "expected radius at least 0, got -1")}),
    "search_bounded": ({"k": 3, "max_candidates": 9}, BAD_K),
}


@pytest.mark.parametrize(
    "make", [lambda: index(fh.FlatIndex), lambda: index(fh.MultiIndex), built], ids=["flat", "multi", "built multi"]
)
@pytest.mark.parametrize(
    ("search", "bad"), [(search, bad) for search, (_, cases) in SEARCHES.items() for bad in cases], ids=str
)
def test_searches(make, search, bad):
    searched, method = make(), search.removeprefix("reranked ")
    if not hasattr(searched, method):
        return
    given, cases = SEARCHES[search]
    changed, message = cases[bad]
    with pytest.raises(
        (TypeError, ValueError), match="^" + re.escape(f"{type(searched).__name__}.{method}: {message}")
    ):
        getattr(searched, method)(**{"queries": codes(2)} | given | changed)


def nan_at(row, column):
    x = torch.zeros(3, 6)
    x[row, column] = torch.nan
    return x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.pack_bits(nan_at(2, 5)), "pack_bits: expected x without NaN, got one at row 2, column 5"),
        (
            lambda: fh.pack_projections(nan_at(1, 2), torch.ones(6, 3)),
            "pack_projections: expected x @ projection - offset without NaN, got one at row 1, column 0",
        ),
        (lambda: LSH(8).fit(torch.ones(5, 6)).encode(nan_at(1, 2)), "LSH.encode: expected "),
        (
            lambda: SpectralHashing(8).fit(torch.rand(50, 6)).encode(nan_at(1, 2)),
            "SpectralHashing.encode: expected x without NaN, got one at row 1, column 0",
        ),
        (
            lambda: HouseholderRotation(4)(torch.ones(2, 3)),
            "HouseholderRotation: expected x of shape [..., 4], got [2, 3]",
        ),
        (
            lambda: HouseholderRotation(4)(torch.tensor(1.0)),
            "HouseholderRotation: expected x of shape [..., 4], got []",
        ),
        (
            lambda: HouseholderRotation(4)(torch.ones(2, 4).int()),
            "HouseholderRotation: expected x of a floating-point dtype, got int32",
        ),
        (
            lambda: HouseholderRotation(4)(torch.ones(2, 4, device="meta")),
            "HouseholderRotation: expected x on cpu, where the other tensors are, got meta",
        ),
        (
            lambda: zeroed(HouseholderRotation(4)).matrix(),
            "HouseholderRotation.matrix: expected v with rows that are finite and not zero, got a zero vector in row 0",
        ),
        (
            lambda: zeroed(HouseholderRotation(4)).as_linear(),
            "HouseholderRotation.as_linear: expected v with rows that are finite and not zero",
        ),
        (
            lambda: zeroed(HouseholderRotation(4)).fold_into(torch.nn.Linear(3, 4)),
            "HouseholderRotation.fold_into: expected v with rows that are finite and not zero",
        ),
        (
            lambda: fh.hamming_topk(codes(2), [codes(5), codes(6)], 3, kernel="x"),
            "hamming_topk: expected kernel to be one of 'reference'",
        ),
        (
            lambda: fh.hamming_topk(codes(2), [codes(5), codes(6)], 3, threads=0),
            "hamming_topk: expected threads from 1 to 4096, got 0",
        ),
        (
            lambda: fh.hamming_topk(codes(2), [codes(5), codes(6)], 3, mask=np.ones(10, bool)),
            "hamming_topk: expected mask of shape [11] for 11 codes, got [10]",
        ),
    ],
)
def test_other_functions(call, message):
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(message)):
        call()


def zeroed(layer):
    torch.nn.init.zeros_(layer.v)
    return layer


@pytest.mark.parametrize("function", [fh.wasserstein_1d, fh.sliced_wasserstein, fh.hswd])
def test_second_derivatives(function):
    x = torch.randn(5, 3, requires_grad=True)
    arguments = (x,) if function is fh.hswd else (x, torch.randn(4, 3))
    (gradient,) = torch.autograd.grad(function(*arguments), x, create_graph=True)
    with pytest.raises(RuntimeError, match=f"^{function.__name__}: expected one derivative to be taken, got a second"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("codes_of", "ids", "message"),
    [
        (8, [3, 3], "from_faiss: expected ids that are new, got 3 again"),
        (4104, None, "from_faiss: expected n_bits from"),
    ],
)
def test_copies_from_faiss(codes_of, ids, message):
    faiss = pytest.importorskip("faiss")
    flat = faiss.IndexBinaryFlat(codes_of)
    given = np.zeros((2, codes_of // 8), np.uint8)
    if ids is None:
        flat.add(given)
    else:
        flat = faiss.IndexBinaryIDMap(flat)
        flat.add_with_ids(given, np.array(ids))
    with pytest.raises(ValueError, match="^" + message):
        fh.index.from_faiss(flat)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.losses.HSWD(p=0), "HSWD: expected p at least 1 and finite, got 0"),
        (
            lambda: fh.losses.HSWD(target="even"),
            "HSWD: expected target to be one of 'balanced', 'bernoulli', got 'even'",
        ),
        (lambda: fh.losses.HSWD(values=(1, 0)), "HSWD: expected values finite and in ascending order, got (1, 0)"),
        (lambda: fh.losses.HSWD()(torch.ones(3)), "HSWD: expected u of shape [n, m], got [3]"),
        (lambda: fh.losses.HSWD()(torch.ones(3, 2).long()), "HSWD: expected u of a floating-point dtype, got int64"),
        (lambda: fh.losses.SlicedWasserstein(p=0), "SlicedWasserstein: expected p at least 1 and finite, got 0"),
        (
            lambda: fh.losses.SlicedWasserstein()(torch.ones(3)),
            "SlicedWasserstein: expected u of shape [n, m], got [3]",
        ),
        (
            lambda: fh.losses.SlicedWasserstein()(torch.ones(3, 2), torch.ones(3, 4)),
            "SlicedWasserstein: expected target with as many columns as u, 2, got 4",
        ),
    ],
)
def test_quantisation_losses(call, message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        call()
