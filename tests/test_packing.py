from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fasthash as fh
from fasthash.ops.packing import KERNELS
from fasthash.ops.packing.op import DTYPES

from .conftest import on_kernel_device, runnable

SHAPES = [(0, 8), (1, 8), (7, 13), (31, 64), (33, 1024), (5, 1), (3, 65), (4, 0), (0, 0)]


def sample(shape, dtype):
    generator = torch.Generator().manual_seed(shape[0] * 1000 + shape[1])
    x = torch.randn(shape, generator=generator) * 2
    x[x.abs() < 0.3] = 0.0
    x[(x < -0.3) & (x > -0.6)] = -0.0
    return x.abs().to(dtype) if dtype in (torch.bool, torch.uint8) else x.to(dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernels_agree_with_numpy(kernel, shape, dtype):
    (x,) = on_kernel_device(kernel, sample(shape, dtype))
    codes = kernel.function("pack_bits")(x)
    positive = x.double().cpu().numpy() > 0
    assert codes.dtype == torch.uint8
    np.testing.assert_array_equal(codes.cpu().numpy(), np.packbits(positive, axis=1, bitorder="little"))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_extreme_floats(kernel):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        smallest = torch.tensor(1, dtype={2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]).view(dtype)
        info = torch.finfo(dtype)
        row = [torch.inf, -torch.inf, 0.0, -0.0, info.max, info.min, info.tiny, -info.tiny]
        x = torch.tensor([row], dtype=dtype)
        x[0, 6], x[0, 7] = smallest, -smallest  # denormals have a sign too
        (x,) = on_kernel_device(kernel, x)
        assert kernel.function("pack_bits")(x).tolist() == [[0b01010001]]


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("place", [(0, 0), (4, 12), (2, 7), (3, 8)], ids=str)
def test_nan_is_refused_and_named(kernel, dtype, place):
    x = sample((5, 13), dtype)
    for nan in (torch.nan, -torch.nan):
        x[place] = nan
        with pytest.raises(ValueError, match=rf"without NaN, got one at row {place[0]}, column {place[1]}"):
            kernel.function("pack_bits")(*on_kernel_device(kernel, x))


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_non_contiguous_input(kernel):
    x = sample((66, 40), torch.float32)
    for view in (x.T, x[::2], x[:, ::3], x[:, 3:20], x[:1].expand(4, 40)):
        expected = np.packbits(view.numpy() > 0, axis=1, bitorder="little")
        codes = kernel.function("pack_bits")(*on_kernel_device(kernel, view))
        np.testing.assert_array_equal(codes.cpu().numpy(), expected)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70), elements=st.floats(-4, 4, width=32))
)
def test_unpacking_inverts_packing(x):
    codes = fh.pack_bits(x)
    np.testing.assert_array_equal(fh.unpack_bits(codes, x.shape[1]), np.where(x > 0, 1, -1).astype(np.float32))
    np.testing.assert_array_equal(fh.pack_bits(fh.unpack_bits(codes, x.shape[1])), codes)


def test_arrays_come_back_as_they_were_given(rng):
    x = rng.standard_normal((6, 20), dtype=np.float32)
    assert isinstance(fh.pack_bits(x), np.ndarray)
    assert isinstance(fh.pack_bits(x.tolist()), np.ndarray)
    assert isinstance(fh.pack_bits(torch.from_numpy(x)), torch.Tensor)
    trained = torch.from_numpy(x).clone().requires_grad_()
    np.testing.assert_array_equal(fh.pack_bits(trained).numpy(), fh.pack_bits(x))
    read_only = x.copy()
    read_only.flags.writeable = False
    for awkward in (read_only, x[::-1], x.astype(">f4"), np.asfortranarray(x)):
        np.testing.assert_array_equal(
            fh.pack_bits(awkward), np.packbits(np.asarray(awkward) > 0, axis=1, bitorder="little")
        )


def test_op_is_registered_as_torch_wants_it():
    samples = [sample((5, 13), torch.float32), sample((4, 16), torch.float16), sample((0, 3), torch.float64)]
    for x in [*samples, sample((5, 13), torch.float32).requires_grad_()]:
        torch.library.opcheck(torch.ops.fasthash.pack_bits, (x,))


def test_compiles_without_a_graph_break():
    torch.compiler.reset()
    x = sample((9, 21), torch.float32)
    compiled = torch.compile(lambda x: fh.pack_bits(x * 2), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), fh.pack_bits(x))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(3), ValueError, r"expected x of shape \[n, b\], got \[3\]; pass x\[None\] for a single row"),
        (torch.zeros(2, 3, 4), ValueError, r"expected x of shape \[n, b\], got \[2, 3, 4\]"),
        (torch.zeros(2, 3, dtype=torch.complex64), TypeError, r"expected x of dtype float32, .* got complex64"),
        (np.zeros((2, 3), dtype=object), TypeError, r"expected x to be a numeric array, got dtype object"),
        ([["a"]], TypeError, r"expected x to be a numeric array"),
        (torch.zeros(2, 3, device="meta"), ValueError, r"on a CPU or a CUDA device, got meta"),
    ],
    ids=str,
)
def test_bad_input_to_pack_bits(x, error, message):
    with pytest.raises(error, match=message):
        fh.pack_bits(x)


@pytest.mark.parametrize(
    ("codes", "n_bits", "error", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.int32), 16, TypeError, "expected codes of dtype uint8 .* got int32"),
        (torch.zeros(2, 2, dtype=torch.uint8), 17, ValueError, "expected codes of 3 bytes a row for 17 bits, got 2"),
        (torch.zeros(2, 2, dtype=torch.uint8), 0, ValueError, "expected n_bits from 1 to 4096, got 0"),
        (torch.zeros(2, 2, dtype=torch.uint8), 1.5, TypeError, "expected n_bits to be an integer, got float"),
    ],
    ids=str,
)
def test_bad_input_to_unpack_bits(codes, n_bits, error, message):
    with pytest.raises(error, match=message):
        fh.unpack_bits(codes, n_bits)


def test_kernel_choice_is_checked():
    x = torch.zeros(2, 8)
    with pytest.raises(ValueError, match="expected kernel to be one of 'reference', 'cpu', .* got 'fast'"):
        fh.pack_bits(x, kernel="fast")
    with pytest.raises(ValueError, match="kernel 'triton' takes tensors on cuda, got cpu"):
        fh.pack_bits(x, kernel="triton")
