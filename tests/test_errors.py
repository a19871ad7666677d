"""An error begins with the function that the user called, whatever that calls in turn."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash import hashes
from fasthash.errors import check_device_name
from fasthash.hashers import LSH, SpectralHashing
from fasthash.index import conversion, storage
from fasthash.layers import HouseholderRotation
from fasthash.recipes import SupervisedSettings, evaluation, loop


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


QUERIES = codes(3)
REAL = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
NO_NUMBERS = {
    "sparse": (REAL.to_sparse(), "expected x to be a dense tensor, got a sparse_coo one"),
    "masked": (np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2)), "expected x to be an array without a mask"),
    "ragged": ([[1.0], [2.0, 3.0]], "expected x to be a numeric array, got a list that is none"),
    "None": (None, "expected x to be a numeric array, got NoneType"),
    "words": (np.array([["a"]]), "expected x to be a numeric array, got dtype <U1"),
    "objects": (np.array([[None]]), "expected x to be a numeric array, got dtype object"),
    "dates": (np.zeros((2, 2), "datetime64[s]"), r"expected x to be a numeric array, got dtype datetime64[s]"),
    "records": (np.zeros(2, [("a", "i4")]), "expected x to be a numeric array, got dtype [('a'"),
    "long double": (np.ones((2, 2), np.longdouble), "expected x to be a numeric array, got dtype float128"),
    "one number": (np.float32(3), "expected x of shape [n, m], got []"),
    "float8": (REAL.to(torch.float8_e5m2), "expected x of a floating-point dtype of 16 bits or more, got float8_e5m2"),
    "complex": (REAL.to(torch.complex64).conj(), "expected x of a floating-point dtype, got complex64"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_arrays_that_hold_no_numbers(kind):
    x, message = NO_NUMBERS[kind]
    with pytest.raises((TypeError, ValueError), match="^hswd: " + re.escape(message)):
        fh.hswd(x)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_tensors_that_are_not_dense():
    nested = torch.nested.nested_tensor([REAL, REAL[:2]])
    quantized = torch.quantize_per_tensor(REAL, 0.1, 0, torch.qint8)
    for kind, x in (("nested", nested), ("quantized", quantized)):
        with pytest.raises(TypeError, match=f"^hswd: expected x to be a dense tensor, got a {kind} one"):
            fh.hswd(x)


def test_arrays_in_odd_forms_hold_the_same_numbers():
    x = REAL.numpy()
    record = np.zeros(x.shape, [("before", np.uint8), ("x", np.float32)])
    record["x"] = x
    for form in (record["x"], x[::-1].copy()[::-1], x.astype(">f4"), torch._neg_view(-REAL), REAL.tolist()):
        np.testing.assert_array_equal(fh.pack_bits(form), fh.pack_bits(x))
    assert fh.hswd(torch._neg_view(-REAL)) == fh.hswd(REAL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fh.hamming_topk(QUERIES, QUERIES, 2**63),
            "hamming_topk: expected k from 1 to 9223372036854775807, got",
        ),
        (
            lambda: fh.hamming_topk(QUERIES, QUERIES, 2**60),
            "hamming_topk: expected k from 1 to 384307168202282325 for 3",
        ),
        (lambda: fh.hamming_radius(QUERIES, QUERIES, 2**63), "hamming_radius: expected radius from 0 to 9223372036854"),
        (lambda: fh.hamming_topk(QUERIES, QUERIES, 1, kernel=["cpu"]), "hamming_topk: expected kernel to be one of"),
        (lambda: fh.hswd(REAL, generator=3), "hswd: expected generator to be a torch.Generator, got int"),
        (lambda: fh.hswd(REAL, root=1), "hswd: expected root to be True or False, got 1"),
        (lambda: fh.hswd(REAL, values=(0, 10**400)), "hswd: expected values to be two numbers"),
        (lambda: fh.hswd(REAL, 10**400), "hswd: expected p at least 1 and finite, got 1"),
        (
            lambda: fh.sliced_wasserstein(REAL, REAL, generator=3),
            "sliced_wasserstein: expected generator to be a torch.Generator, got int",
        ),
        (
            lambda: fh.sliced_wasserstein(REAL, REAL, 2**62),
            "sliced_wasserstein: expected n_projections from 1 to 192153584101141162, got 4611686018427387904",
        ),
        (
            lambda: LSH(8, random_state="x").fit(REAL),
            "LSH.fit: expected random_state to be an integer, a RandomState",
        ),
        (lambda: HouseholderRotation(4, device="gpu"), "HouseholderRotation: expected device to be a device of this"),
        (
            lambda: HouseholderRotation(4, dtype=torch.int8),
            "HouseholderRotation: expected dtype to be a floating-point",
        ),
        (lambda: HouseholderRotation(2**40), "HouseholderRotation: expected k from 1 to 536870912"),
        (
            lambda: HouseholderRotation(4).fold_into(None),
            "HouseholderRotation.fold_into: expected linear to be a Linear",
        ),
        (lambda: fh.losses.CSQ(8, 4)(None, None), "CSQ: expected u to be a tensor, got NoneType"),
        (lambda: fh.losses.CSQ(8, 4)(REAL, None), "CSQ: expected u of 8 columns, got 6"),
        (lambda: fh.losses.CSQ(6, 4)(REAL, [0, 1, 2, 3]), "CSQ: expected labels to be a tensor, got list"),
        (lambda: fh.losses.CEL()(REAL, torch.full((4, 2), 2)), "CEL: expected labels of 0 and 1, as they are of shape"),
        (lambda: fh.losses.CEL()(REAL[:, :0], torch.arange(4)), "CEL: expected u with at least one row and one column"),
        (lambda: fh.losses.MagnitudeError()(REAL.long()), "MagnitudeError: expected u of a floating-point dtype"),
        (
            lambda: fh.evaluate.precision_at(None, QUERIES, [0, 1, 2], QUERIES, [0, 1, 2]),
            "precision_at: expected k to be an integer, got NoneType",
        ),
        (
            lambda: fh.evaluate.precision_at(1, QUERIES, np.array([2**63] * 3, np.uint64), QUERIES, [0, 1, 2]),
            "precision_at: expected query_labels of at most 9223372036854775807, got 9223372036854775808",
        ),
        (lambda: fh.data.load_dataset(3), "load_dataset: expected name to be a string or a path, got int"),
        (lambda: fh.recipes.HashingNetwork("cnn", (2, 2), 8), "HashingNetwork: expected item_shape of at least 8 x 8"),
    ],
)
def test_values_that_are_none(call, message):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        call()


def masked(kind):
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    if kind == "MaskedTensor":
        return torch.masked.masked_tensor(torch.from_numpy(x), torch.from_numpy(x) < 1)
    array = np.ma.masked_array(x, mask=x > 1)
    return list(array) if kind == "MaskedArrays" else array


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors is in prototype stage")
@pytest.mark.parametrize("kind", ["MaskedArray", "MaskedArrays", "MaskedTensor"])
@pytest.mark.parametrize(
    "call",
    [fh.pack_bits, fh.hswd, LSH(8).fit, fh.householder_product, fh.evaluate.quantization_angle],
    ids=["pack_bits", "hswd", "LSH.fit", "householder_product", "quantization_angle"],
)
def test_masked_values_are_not_taken_for_values(call, kind):
    with pytest.raises(
        TypeError, match=f"expected . to be an? (array|tensor) without a mask, got an? {kind}|got {kind}$"
    ):
        call(masked(kind))


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors is in prototype stage")
@pytest.mark.parametrize("module", [fh.losses.MagnitudeError(), fh.losses.HSWD(), HouseholderRotation(6)], ids=str)
def test_modules_refuse_masked_tensors(module):
    with pytest.raises(
        TypeError, match=f"^{type(module).__name__}: expected . to be a tensor without a mask, got a MaskedT"
    ):
        module(masked("MaskedTensor"))


def test_more_than_there_is_memory_for():
    with pytest.raises(MemoryError, match=r"^hamming_topk: expected memory for the result, got none for \d+ bytes$"):
        fh.hamming_topk(QUERIES, QUERIES, 2**45)
    with pytest.raises(MemoryError, match=r"^sliced_wasserstein of \d+ n_projections: expected memory"):
        fh.sliced_wasserstein(REAL, REAL, 2**45)


def test_labels_of_any_integers():
    labels = np.array([0, 1, 0])
    expected = fh.evaluate.mean_average_precision(QUERIES, labels, QUERIES, labels)
    for dtype in ("uint16", "uint32", "uint64", "int8"):
        given = labels.astype(dtype)
        assert fh.evaluate.mean_average_precision(QUERIES, given, QUERIES, labels) == expected
        loss = fh.losses.CSQ(6, 2)
        assert loss(REAL[:3], torch.from_numpy(given)) == loss(REAL[:3], torch.from_numpy(labels))


def test_devices_by_name():
    assert check_device_name("Index", "device", "cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="^Index: expected device to be a device of this machine, got 'gpu'$"):
        check_device_name("Index", "device", "gpu")
    with pytest.raises(TypeError, match=r"^Index: expected device to be a string or a torch\.device, got int$"):
        check_device_name("Index", "device", 0)


TORCH = "err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"
DIGITS = SupervisedSettings(dataset="digits", protocol="digits-v1", network="mlp", bits=8, epochs=1)
WHERE_MEMORY_LACKS = {
    "from_hashes": (hashes, "reversed_bits", lambda: fh.from_hashes(["ab"])),
    "to_hashes": (hashes, "reversed_bits", lambda: fh.to_hashes(codes(2), "hex")),
    "from_bytes": (storage, "_parsed", lambda: fh.index.from_bytes(index(fh.FlatIndex).to_bytes())),
    "load_index": (storage, "_parsed", lambda: fh.load_index(io.BytesIO(index(fh.FlatIndex).to_bytes()))),
    "from_faiss": (conversion, "_codes_and_ids", lambda: fh.index.from_faiss(None)),
    "to_faiss": (np, "array_equal", lambda: fh.index.to_faiss(index(fh.FlatIndex))),
    "encode": (evaluation, "network_outputs", lambda: evaluation.encode(torch.nn.Identity(), np.zeros((2, 8)))),
    "train": (loop, "network_outputs", lambda: fh.recipes.train(DIGITS, device="cpu")),
}


@pytest.mark.parametrize("where", WHERE_MEMORY_LACKS)
@pytest.mark.parametrize(
    ("error", "amount"),
    [
        (RuntimeError(TORCH), " for 8 bytes"),
        (MemoryError("Unable to allocate 8 GiB for an array"), " for 8 GiB for an array"),
        (MemoryError("inner: expected memory for the result, got none for 8 bytes"), " for 8 bytes"),
        (MemoryError(), ""),
    ],
    ids=["torch", "numpy", "ours", "python"],
)
def test_where_memory_lacks_is_named_whoever_says_so(monkeypatch, where, error, amount):
    module, name, call = WHERE_MEMORY_LACKS[where]
    if "faiss" in where:
        pytest.importorskip("faiss")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(MemoryError) as raised:
        call()
    assert str(raised.value) == f"{where}: expected memory for the result, got none{amount}"


def test_other_errors_stay_what_they_are(monkeypatch):
    def fail(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(hashes, "reversed_bits", fail)
    with pytest.raises(RuntimeError, match="^something else$"):
        fh.from_hashes(["ab"])
