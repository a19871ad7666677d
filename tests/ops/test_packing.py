from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fasthash as fh
from fasthash.ops.packing import KERNELS
from fasthash.ops.packing.op import DTYPES
from tests.conftest import on_kernel_device, opcheck, runnable

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
        opcheck(torch.ops.fasthash.pack_bits, (x,))


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


PROJECTED = [
    (0, 4, 8), (1, 1, 1), (3, 0, 5), (7, 13, 13), (85, 64, 64), (170, 300, 65), (33, 520, 264), (5, 17, 4096),
]  # fmt: skip


def projected_sample(shape, dtype):
    n, d, n_bits = shape
    generator = torch.Generator().manual_seed(n * 1000 + n_bits)
    x, projection, offset = (torch.randn(size, generator=generator) for size in ((n, d), (d, n_bits), (n_bits,)))
    product = torch.float64 if dtype == torch.float64 else torch.float32
    return x.to(dtype), projection.to(product), offset.to(product)


def assert_sides(codes, x, projection, offset):
    """Compare with the product in float64, but for the bits that the rounding of a sum of d products may turn."""
    d, n_bits = projection.shape
    exact, bound = x.double() @ projection.double(), x.double().abs() @ projection.double().abs()
    if offset is not None:
        exact, bound = exact - offset.double(), bound + offset.double().abs()
    certain = (exact.abs() > (d + 2) * torch.finfo(projection.dtype).eps * bound).numpy()
    assert d == 0 or certain.size == 0 or certain.mean() > 0.98
    bits = np.unpackbits(codes.cpu().numpy(), axis=1, bitorder="little")
    assert codes.shape == (len(x), (n_bits + 7) // 8)
    assert not bits[:, n_bits:].any()
    assert not ((bits[:, :n_bits] != (exact > 0).numpy()) & certain).any()


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", PROJECTED, ids=str)
@pytest.mark.parametrize("with_offset", [True, False], ids=["offset", "none"])
def test_projections_agree_with_float64(kernel, shape, with_offset):
    x, projection, offset = projected_sample(shape, torch.float32)
    offset = offset if with_offset else None
    codes = kernel.function("pack_projections")(*on_kernel_device(kernel, x, projection, offset))
    assert_sides(codes, x, projection, offset)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_projections_of_every_dtype(kernel, dtype):
    for shape in ((7, 13, 13), (90, 130, 72)):
        x, projection, offset = projected_sample(shape, dtype)
        codes = kernel.function("pack_projections")(*on_kernel_device(kernel, x, projection, offset))
        assert_sides(codes, x, projection, offset)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_projections_of_non_contiguous_input(kernel):
    x, projection, offset = projected_sample((96, 40, 80), torch.float32)
    for rows in (x, x[::2], x[:, :40], x[:1].expand(6, 40), x.T.contiguous().T):
        for columns in (slice(None), slice(3, 60), slice(None, None, 3)):
            arguments = rows, projection[:, columns], offset[columns]
            codes = kernel.function("pack_projections")(*on_kernel_device(kernel, *arguments))
            assert_sides(codes, *arguments)
    codes = kernel.function("pack_projections")(*on_kernel_device(kernel, x[:, ::3], projection[::3], None))
    assert_sides(codes, x[:, ::3], projection[::3], None)
    square = projection[:, :40]
    codes = kernel.function("pack_projections")(*on_kernel_device(kernel, x, square.T, None))
    assert_sides(codes, x, square.T, None)


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # NumPy's, in Triton's interpreter
@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nan_among_projections_is_refused_and_named(kernel, dtype):
    def refused(x, projection, offset, row, column):
        with pytest.raises(ValueError, match=rf"offset without NaN, got one at row {row}, column {column}$"):
            kernel.function("pack_projections")(*on_kernel_device(kernel, x, projection, offset))

    x, projection, offset = projected_sample((200, 5, 300), dtype)
    for row in (0, 90, 199):
        nan = x.clone()
        nan[row:, 3] = torch.nan
        refused(nan, projection, offset, row, 0)
    nan = offset.clone()
    nan[270] = torch.nan
    refused(x, projection, nan, 0, 270)
    infinite = x.clone()
    infinite[7, :2] = torch.inf
    projection[:2, 11] = torch.tensor([1, -1])
    projection[:2, :11], projection[:2, 12:] = 1, 1
    refused(infinite, projection, offset, 7, 11)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_a_projection_at_its_offset_is_not_above_it(kernel):
    x, projection = torch.tensor([[1.0, 2.0], [-1.0, 1.0], [0.0, -0.0]]), torch.eye(2)
    for offset, expected in ((torch.tensor([1.0, 1.0]), [2, 0, 0]), (None, [3, 2, 0]), (-torch.ones(2), [3, 2, 3])):
        assert kernel.function("pack_projections")(*on_kernel_device(kernel, x, projection, offset))[:, 0].tolist() == (
            expected
        )


@pytest.mark.parametrize("kernel", [param for param in runnable(KERNELS) if param.id.startswith("cpu")])
def test_the_code_of_a_row_depends_on_nothing_else(kernel, monkeypatch):
    x, projection, offset = projected_sample((3000, 70, 530), torch.float32)
    x[1500:] = x[:1500]
    pack = kernel.function("pack_projections")
    codes = pack(x, projection, offset)
    assert torch.equal(codes[:1500], codes[1500:])
    assert torch.equal(codes[100:101], pack(x[100:101], projection, offset))
    assert torch.equal(codes[:, :8], pack(x, projection[:, :64], offset[:64]))
    for threads in "13":
        monkeypatch.setenv("FASTHASH_THREADS", threads)
        assert torch.equal(codes, pack(x, projection, offset))


@pytest.mark.slow
def test_an_interrupt_stops_a_long_product():
    """It would take minutes at the baseline level."""
    x, projection, _ = projected_sample((1, 4096, 64), torch.float32)
    interrupt = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fh.pack_projections(x.expand(10**7, 4096), projection, kernel="cpu-baseline")
    interrupt.join()
    assert time.monotonic() - start < 30
    assert fh.pack_projections(x, projection).shape == (1, 8)


def test_projections_of_arrays_of_any_kind(rng):
    x, projection = rng.standard_normal((6, 20), dtype=np.float32), rng.standard_normal((20, 12))
    offset = rng.standard_normal(12)
    codes = fh.pack_projections(x, projection, offset)
    assert isinstance(codes, np.ndarray)
    np.testing.assert_array_equal(codes, np.packbits(x @ projection > offset, axis=1, bitorder="little"))
    tensors = [torch.from_numpy(array).requires_grad_() for array in (x, projection, offset)]
    assert isinstance(fh.pack_projections(*tensors), torch.Tensor)
    assert fh.pack_projections(*tensors).numpy().tolist() == codes.tolist()
    assert fh.pack_projections(x.tolist(), projection, offset).tolist() == codes.tolist()
    for double in (x.astype(np.float64), x[::-1][::-1], np.asfortranarray(x)):
        np.testing.assert_array_equal(fh.pack_projections(double, projection.astype(">f4"), offset), codes)


def test_projecting_is_registered_as_torch_wants_it():
    for shape, dtype in (((5, 13, 9), torch.float32), ((0, 3, 8), torch.float64), ((4, 6, 3), torch.bfloat16)):
        x, projection, offset = projected_sample(shape, dtype)
        opcheck(torch.ops.fasthash.pack_projections, (x, projection, offset))
        opcheck(torch.ops.fasthash.pack_projections, (x, projection.requires_grad_(), None))


def test_projecting_compiles_without_a_graph_break():
    torch.compiler.reset()
    x, projection, offset = projected_sample((9, 21, 17), torch.float32)
    compiled = torch.compile(
        lambda x: fh.pack_projections(x * 2, projection, offset), backend="aot_eager", fullgraph=True
    )
    assert torch.equal(compiled(x), fh.pack_projections(x * 2, projection, offset))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3), torch.zeros(3, 8)), ValueError, r"expected x of shape \[n, d\], got \[3\]; pass x\[None\]"),
        ((torch.zeros(2, 3).int(), torch.zeros(3, 8)), TypeError, r"expected x of dtype float32, .* got int32"),
        (
            (torch.zeros(2, 3), torch.zeros(3, 8).int()),
            TypeError,
            r"expected projection of dtype float32, .* got int32",
        ),
        ((torch.zeros(2, 3), torch.zeros(4, 8)), ValueError, r"expected projection of shape \[3, b\], .* got \[4, 8\]"),
        ((torch.zeros(2, 3), torch.zeros(3)), ValueError, r"expected projection of shape \[3, b\], .* got \[3\]"),
        ((torch.zeros(2, 3), torch.zeros(3, 0)), ValueError, r"b from 1 to 4096, got \[3, 0\]"),
        ((torch.zeros(2, 3), torch.zeros(3, 4097)), ValueError, r"b from 1 to 4096, got \[3, 4097\]"),
        (
            (torch.zeros(2, 3), torch.zeros(3, 8), torch.zeros(7)),
            ValueError,
            r"expected offset of shape \[8\], one for each column of projection, got \[7\]",
        ),
        (
            (torch.zeros(2, 3), torch.zeros(3, 8), torch.zeros(8).int()),
            TypeError,
            "expected offset of dtype float32, .* got int32",
        ),
        (
            (torch.zeros(2, 3), torch.zeros(3, 8, device="meta")),
            ValueError,
            "expected projection on cpu, where the other tensors are, got meta",
        ),
        (
            (torch.zeros(2, 3), torch.zeros(3, 8), torch.zeros(8, device="meta")),
            ValueError,
            "expected offset on cpu, where the other tensors are, got meta",
        ),
        (
            (torch.zeros(2, 3, device="meta"), torch.zeros(3, 8, device="meta")),
            ValueError,
            "on a CPU or a CUDA device, got meta",
        ),
    ],
    ids=str,
)
def test_bad_input_to_pack_projections(arguments, error, message):
    with pytest.raises(error, match=f"pack_projections: .*{message}"):
        fh.pack_projections(*arguments)
