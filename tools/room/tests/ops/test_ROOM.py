from __future__ import annotations

import numpy as np
import pytest
import torch
from fasthash.ops.ROOM import KERNELS, ROOM
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import on_kernel_device, opcheck, runnable, runnable_names

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SHAPES = [(0, 5), (1, 1), (5, 0), (3, 7), (70, 64), (33, 129), (2, 1000)]


def sample(n, m, dtype=torch.float32):
    return torch.randn(n, m, generator=torch.Generator().manual_seed(n * 1000 + m)).to(dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kernels_agree_with_numpy(kernel, shape, dtype):
    (x,) = on_kernel_device(kernel, sample(*shape, dtype))
    y = kernel.function("ROOM")(x)
    assert y.dtype == dtype
    expected = (x.double().cpu().numpy() ** 2).sum(axis=1)
    np.testing.assert_allclose(y.cpu().numpy(), expected, rtol=TOLERANCE[dtype], atol=0)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_every_dtype_and_any_strides(dtype):
    x = sample(40, 30, dtype)
    expected = x.double().square().sum(1)
    for given_x in (x, x.T.contiguous().T, torch.cat([x, x], 1)[:, :30]):
        y = ROOM(given_x)
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), expected, rtol=TOLERANCE[dtype], atol=0)


def test_numpy_in_is_numpy_out():
    x = sample(4, 9).numpy()
    assert isinstance(ROOM(x), np.ndarray)
    np.testing.assert_allclose(ROOM(x), (x**2).sum(1), rtol=1e-5)


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_order_of_columns_changes_nothing_but_rounding(n, m):
    x = sample(n, m, torch.float64)
    torch.testing.assert_close(ROOM(x.flip(1)), ROOM(x))


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, None, "reference"))
def test_gradient(kernel):
    x = sample(5, 7, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ROOM(x, kernel=kernel), x)


def test_the_registered_op():
    opcheck(torch.ops.fasthash.ROOM, (sample(5, 7).requires_grad_(),))
    x = sample(5, 7).requires_grad_()
    compiled = torch.compile(lambda x: ROOM(x).sum(), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(torch.autograd.grad(compiled(x), x), torch.autograd.grad(ROOM(x).sum(), x))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.ones(3), ValueError, r"ROOM: expected x of shape \[n, m\], got \[3\]"),
        (torch.ones(3, 2).long(), TypeError, "ROOM: expected x of a floating-point dtype, got int64"),
    ],
)
def test_errors_name_what_came(x, error, message):
    with pytest.raises(error, match=message):
        ROOM(x)
