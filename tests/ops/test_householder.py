from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.ops.householder import KERNELS, reference
from fasthash.ops.householder.decomposed import decomposed_apply
from fasthash.ops.householder.op import kept_rows
from tests.conftest import on_kernel_device, opcheck, runnable, runnable_names

TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SHAPES = [(1, 1, 1), (3, 1, 2), (1, 2, 2), (0, 3, 4), (5, 3, 5), (19, 7, 7), (33, 5, 36), (16, 16, 16), (7, 32, 40),
          (6, 9, 12), (2, 13, 40), (9, 48, 64), (11, 128, 128), (70, 64, 64), (3, 65, 67), (130, 100, 100),
          (2, 3, 130)]  # fmt: skip
COMPILED = {name: kernel for name, kernel in KERNELS.items() if kernel.isa is not None}


def naive(v):
    """The product of the reflections, multiplied from the right with one after the other."""
    product = torch.eye(v.shape[1], dtype=v.dtype)
    for u in v:
        product = product - 2 * torch.outer(product @ u, u) / u.dot(u)
    return product


def expected(x, v, dy, transpose):
    """Rotated rows and both gradients in float64."""
    rows, vectors = x.double().clone().requires_grad_(), v.double().clone().requires_grad_()
    u = naive(vectors)
    y = rows @ (u if transpose else u.T)
    return y.detach(), *torch.autograd.grad(y, (rows, vectors), dy.double())


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_close(result, wanted, dtype):
    for part, truth in zip(result, wanted, strict=True):
        assert part.dtype == dtype
        assert part.shape == truth.shape
        scale = max(1.0, float(truth.abs().max()) if truth.numel() else 0.0)
        np.testing.assert_allclose(part.detach().cpu().double() / scale, truth / scale, atol=TOLERANCE[dtype])


def run(kernel, x, v, dy, transpose):
    """Rotated rows and both gradients by one kernel."""
    x, v, dy = on_kernel_device(kernel, x, v, dy)
    y, q, s_inverse = kernel.function("householder_apply")(x, v, transpose)
    saved = kept_rows(x, y, q), v, q, s_inverse
    dx, dv = kernel.function("householder_backward")(dy, *saved, transpose, True)
    without = kernel.function("householder_backward")(dy, *saved, transpose, False)
    assert without[0].numel() == 0
    assert torch.equal(without[1], dv)
    return y, dx, dv


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("transpose", [False, True], ids=["", "transpose"])
def test_kernels_agree_with_matrices(kernel, shape, dtype, transpose):
    n, l, k = shape
    x, v, dy = normal(n, k, dtype=dtype), normal(l, k, seed=1, dtype=dtype), normal(n, k, seed=2, dtype=dtype)
    assert_close(run(kernel, x, v, dy, transpose), expected(x, v, dy, transpose), dtype)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (9, 17), (64, 64), (50, 70)], ids=str)
def test_no_rows_stand_for_the_identity(kernel, shape):
    v = normal(*shape, dtype=torch.float64)
    dy = normal(shape[1], shape[1], seed=1, dtype=torch.float64)
    given_v, given_dy = on_kernel_device(kernel, v, dy)
    for transpose in (False, True):
        y, q, s_inverse = kernel.function("householder_apply")(None, given_v, transpose)
        saved = kept_rows(None, y, q), given_v, q, s_inverse
        _, dv = kernel.function("householder_backward")(given_dy, *saved, transpose, False)
        wanted = expected(torch.eye(shape[1]), v, dy, transpose)
        assert_close((y, dv), (wanted[0], wanted[2]), torch.float64)


@pytest.mark.parametrize("kernel", runnable({name: KERNELS[name] for name in KERNELS if name != "reference"}))
def test_lengths_at_the_ends_of_the_range(kernel):
    v = normal(6, 9)
    scaled = v * torch.tensor([1e-30, 1e30, 1.0, 1e-18, 1e19, 1e-12])[:, None]
    x, dy = normal(5, 9, seed=1), normal(5, 9, seed=2)
    y, dx, dv = run(kernel, x, scaled, dy, False)
    wanted = expected(x, scaled.double(), dy, False)
    np.testing.assert_allclose(y.cpu(), wanted[0], atol=1e-5)
    np.testing.assert_allclose(dx.cpu(), wanted[1], atol=1e-5)
    lengths = scaled.double().norm(dim=1, keepdim=True)
    np.testing.assert_allclose(dv.cpu().double() * lengths, wanted[2] * lengths, atol=1e-4)


@pytest.mark.parametrize("kernel", runnable(KERNELS))
def test_any_strides(kernel):
    x, v, dy = normal(12, 40), normal(10, 60, seed=1), normal(12, 20, seed=2)
    for x_view, v_view, dy_view in (
        (x[:, ::2], v[::2, :20], dy),
        (x.T[:20, :].T, v.T[10:30, :].T, dy.T.contiguous().T),
        (x[:1, 3:23].expand(12, 20), v[3:4, 40:], dy[:1, :1].expand(12, 20)),
        (x[:, 1:21], v[:, 1:21], dy[0].expand(12, 20)),
    ):
        result = run(kernel, x_view, v_view, dy_view, False)
        assert_close(result, expected(x_view, v_view, dy_view, False), torch.float32)


@cache
def large_case(n, l, k, transpose):
    """Inputs and what is expected of every kernel, which takes seconds to find."""
    inputs = normal(n, k), normal(l, k, seed=1), normal(n, k, seed=2)
    return inputs, expected(*inputs, transpose)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", runnable(COMPILED))
@pytest.mark.parametrize("shape", [(700, 130, 300), (40, 300, 300), (9000, 70, 80)], ids=str)
def test_more_rows_than_a_task_and_more_columns_than_a_panel(kernel, shape):
    for transpose in (False, True):
        inputs, wanted = large_case(*shape, transpose)
        assert_close(run(kernel, *inputs, transpose), wanted, torch.float32)


@pytest.mark.parametrize("kernel", runnable({"triton": KERNELS["triton"]}))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("transpose", [False, True], ids=["", "transpose"])
def test_programs_that_take_rows_in_turns(kernel, dtype, transpose, monkeypatch):
    monkeypatch.setattr("fasthash.ops.householder.kernel_triton.MAX_PROGRAMS", 2)
    x, v, dy = normal(70, 7, dtype=dtype), normal(5, 7, seed=1, dtype=dtype), normal(70, 7, seed=2, dtype=dtype)
    assert_close(run(kernel, x, v, dy, transpose), expected(x, v, dy, transpose), dtype)


@pytest.mark.parametrize("kernel", runnable(COMPILED))
def test_threads_change_no_bit(kernel, monkeypatch):
    x, v, dy = normal(600, 200), normal(200, 200, seed=1), normal(600, 200, seed=2)
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("FASTHASH_THREADS", threads)
        results.append(run(kernel, x, v, dy, False))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def vectors(kind, l, k):
    """Vectors as they come, or nearly parallel, from which rounding errors add up the most."""
    v = normal(l, k)
    return (
        v
        if kind == "random"
        else v[:1] + {"parallel within 1e-1": 1e-1, "1e-2": 1e-2, "1e-4": 1e-4, "equal": 0}[kind] * v
    )


@pytest.mark.parametrize("kernel", runnable({name: KERNELS[name] for name in ("torch", *COMPILED)}))
@pytest.mark.parametrize("kind", ["random", "parallel within 1e-1", "1e-2", "1e-4", "equal"])
def test_orthogonal_to_1e_5_in_512_dimensions(kernel, kind):
    u = kernel.function("householder_apply")(None, vectors(kind, 512, 512), False)[0].double()
    assert (u @ u.T - torch.eye(512)).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kernel", runnable(KERNELS))
@pytest.mark.parametrize("kind", ["parallel within 1e-1", "1e-2", "1e-4", "equal"])
def test_nearly_parallel_vectors(kernel, kind):
    x, v, dy = normal(3, 32, seed=1), vectors(kind, 30, 32), normal(3, 32, seed=2)
    assert_close(run(kernel, x, v, dy, False), expected(x, v, dy, False), torch.float32)


@pytest.mark.parametrize("kernel", runnable({name: KERNELS[name] for name in ("torch", "triton")}))
@pytest.mark.parametrize("value", [0, torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("row", [0, 4])
def test_a_kernel_that_checks_no_rows_gives_nan(kernel, value, row):
    x, v, dy = on_kernel_device(kernel, normal(5, 9, seed=1), normal(5, 9), normal(5, 9, seed=2))
    v[row] = value
    with np.errstate(all="ignore"):
        y, *saved = kernel.function("householder_apply")(x, v, False)
        rows = kept_rows(x, y, saved[0])
        gradients = kernel.function("householder_backward")(dy, rows, v, *saved, False, True)
    assert all(part.isnan().all() for part in (y, *gradients))


@pytest.mark.parametrize("kernel", runnable({name: KERNELS[name] for name in KERNELS if name != "reference"}))
@pytest.mark.parametrize(("dtype", "length"), [(torch.float32, 1e-40), (torch.float64, 1e-310)], ids=str)
def test_a_subnormal_vector_has_a_direction(kernel, dtype, length):
    x, v = normal(5, 9, seed=1, dtype=dtype), normal(6, 9, dtype=dtype)
    v[2:4] *= length
    given = on_kernel_device(kernel, x, v)
    with np.errstate(over="ignore"):  # the reciprocal of the length, which only the gradient needs
        y = kernel.function("householder_apply")(*given, False)[0]
    scaled = v.double() / v.double().abs().amax(1, keepdim=True)
    assert_close((y,), expected(x, scaled, x, False)[:1], dtype)


@pytest.mark.slow
def test_2048_dimensions():
    v = normal(2048, 2048)
    u = fh.householder_product(v)
    probe = normal(4, 2048, seed=1)
    torch.testing.assert_close(fh.householder_apply(probe, v), probe @ u.T, atol=1e-4, rtol=0)
    np.testing.assert_allclose((u[:300] @ u.T)[:, :300], torch.eye(300), atol=1e-5)
    assert (u[0] - torch.eye(2048)[0]).norm() > 0.5


@given(st.data())
def test_properties(data):
    k = data.draw(st.integers(1, 100))
    l, n = data.draw(st.integers(1, k)), data.draw(st.integers(0, 20))
    seed = data.draw(st.integers(0, 2**32 - 1))
    v = normal(l, k, seed=seed, dtype=torch.float64).requires_grad_()
    x = normal(n, k, seed=seed + 1, dtype=torch.float64)
    u = fh.householder_product(v)
    close = {"atol": 1e-11, "rtol": 1e-11}
    torch.testing.assert_close(u, naive(v), **close)
    torch.testing.assert_close(u @ u.T, torch.eye(k, dtype=torch.float64), **close)
    y = fh.householder_apply(x, v)
    torch.testing.assert_close(y, x @ u.T, **close)
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1), **close)
    torch.testing.assert_close(fh.householder_apply(y, v, transpose=True), x, **close)
    torch.testing.assert_close(fh.householder_apply(y, v.flip(0)), x, **close)
    lengths = torch.rand(l, 1, dtype=torch.float64) + 0.1
    torch.testing.assert_close(fh.householder_apply(x, v * lengths), y, **close)
    (gradient,) = torch.autograd.grad((y * normal(n, k, seed=seed + 2)).sum(), v)
    inside = (gradient * v).sum(1).abs() / v.norm(dim=1)
    assert (inside <= 1e-11 * (1 + gradient.norm(dim=1) * v.norm(dim=1))).all()


def test_one_reflection():
    v = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(fh.householder_product(v), torch.tensor([[0.28, -0.96], [-0.96, -0.28]]))
    torch.testing.assert_close(fh.householder_apply(v, v), -v)


def test_the_first_row_is_the_last_reflection_of_a_vector():
    v = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(fh.householder_apply(torch.tensor([[1.0, 0.0]]), v), torch.tensor([[0.0, -1.0]]))
    torch.testing.assert_close(
        fh.householder_apply(torch.tensor([[1.0, 0.0]]), v, transpose=True), torch.tensor([[0.0, 1.0]])
    )


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, "reference", "torch", "cpu", "cpu-baseline", "numba"))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precisions(kernel, dtype):
    x, v, dy = normal(9, 20, dtype=dtype), normal(6, 20, seed=1, dtype=dtype), normal(9, 20, seed=2, dtype=dtype)
    for v_dtype in (dtype, torch.float32):
        leaves = x.clone().requires_grad_(), v.to(v_dtype).requires_grad_()
        y = fh.householder_apply(*leaves, kernel=kernel)
        dx, dv = torch.autograd.grad(y, leaves, dy)
        assert dv.dtype == v_dtype
        assert_close((y, dx, dv.to(dtype)), expected(x, v, dy, False), dtype)
    assert fh.householder_product(v, kernel=kernel).dtype == dtype


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 2, 4), (4, 4, 4), (1, 1, 3), (0, 2, 2)], ids=str)
@pytest.mark.parametrize("kernel", runnable_names(KERNELS, None, "reference", "torch", "numba"))
def test_gradients_of_the_public_functions(shape, kernel):
    n, l, k = shape
    x = normal(n, k, dtype=torch.float64).requires_grad_()
    v = normal(l, k, seed=1, dtype=torch.float64).requires_grad_()
    for transpose in (False, True):
        assert torch.autograd.gradcheck(lambda x, v, t=transpose: fh.householder_apply(x, v, t, kernel=kernel), (x, v))
    assert torch.autograd.gradcheck(lambda v: fh.householder_apply(x.detach(), v, kernel=kernel), (v,))
    assert torch.autograd.gradcheck(lambda x: fh.householder_apply(x, v.detach(), kernel=kernel), (x,))
    assert torch.autograd.gradcheck(lambda v: fh.householder_product(v, kernel=kernel), (v,))


def test_gradient_of_the_registered_op():
    x = normal(3, 4, dtype=torch.float64).requires_grad_()
    v = normal(2, 4, seed=1, dtype=torch.float64).requires_grad_()
    op = torch.ops.fasthash.householder_apply
    assert torch.autograd.gradcheck(lambda x, v: op(x, v, True)[0], (x, v))
    assert torch.autograd.gradcheck(lambda v: op(None, v, False)[0], (v,))


def test_a_second_derivative_is_an_error():
    x, v = normal(3, 4).requires_grad_(), normal(2, 4, seed=1).requires_grad_()
    op = torch.ops.fasthash.householder_apply
    by_result = partial(fh.householder_apply, kernel="reference")  # which keeps its result instead of x
    for rotate in (fh.householder_apply, by_result, lambda x, v: op(x, v, False)[0]):
        for leaf in (x, v):
            (gradient,) = torch.autograd.grad(rotate(x, v).square().sum(), leaf, create_graph=True)
            with pytest.raises(RuntimeError, match="householder_apply: expected one derivative to be taken"):
                (gradient.sum() + leaf.sum()).backward()
    (gradient,) = torch.autograd.grad(fh.householder_product(v).sum(), v, create_graph=True)
    with pytest.raises(RuntimeError, match="householder_product: expected one derivative to be taken, got a second"):
        gradient.sum().backward()


def test_the_registered_ops():
    for n, l, k, dtype in ((5, 3, 4, torch.float32), (1, 4, 4, torch.float64), (0, 2, 3, torch.float32)):
        x, v, dy = normal(n, k, dtype=dtype), normal(l, k, seed=1, dtype=dtype), normal(n, k, seed=2, dtype=dtype)
        for wanted in (False, True):
            leaves = x.clone().requires_grad_(wanted), v.T.contiguous().T.requires_grad_(wanted)
            opcheck(torch.ops.fasthash.householder_apply, (*leaves, wanted))
        opcheck(torch.ops.fasthash.householder_apply, (None, v, False))
        _, q, s_inverse = torch.ops.fasthash.householder_apply(x, v, False)
        for with_dx in (False, True):
            arguments = (dy, x, v, q, s_inverse, False, with_dx)
            opcheck(torch.ops.fasthash.householder_backward, arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_compiles_without_a_graph_break(dtype):
    torch.compiler.reset()
    x, v = normal(5, 8, dtype=dtype).requires_grad_(), normal(6, 8, seed=1, dtype=dtype).requires_grad_()

    def rotate(x, v):
        return fh.householder_apply(x * 2, v) @ fh.householder_product(v)

    y = torch.compile(rotate, backend="aot_eager", fullgraph=True)(x, v)
    results = y, *torch.autograd.grad(y.sum(), (x, v))
    plain = rotate(x, v)
    for result, wanted in zip(results, (plain, *torch.autograd.grad(plain.sum(), (x, v))), strict=True):
        torch.testing.assert_close(result, wanted)


def test_where_torch_traces_a_zero_vector_gives_nan():
    torch.compiler.reset()
    v = normal(3, 4)
    v[1] = 0
    u = torch.compile(lambda v: fh.householder_product(v), backend="aot_eager", fullgraph=True)(v)
    assert u.isnan().all()


def test_no_gradient_where_none_is_wanted():
    x, v = normal(3, 4).requires_grad_(), normal(2, 4, seed=1).requires_grad_()
    with torch.no_grad():
        assert not fh.householder_apply(x, v).requires_grad
    with torch.inference_mode():
        assert torch.equal(fh.householder_apply(x, v), fh.householder_apply(x.detach(), v.detach()))


@pytest.mark.parametrize("kernel", runnable_names(KERNELS, "reference", "torch", "cpu", "numba"))
def test_autocast_does_not_lower_the_precision(kernel):
    x, v, dy = normal(5, 9), normal(4, 9, seed=1), normal(5, 9, seed=2)
    leaves = x.clone().requires_grad_(), v.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = fh.householder_apply(*leaves, kernel=kernel)
        gradients = torch.autograd.grad(y, leaves, dy)
    assert_close((y, *gradients), expected(x, v, dy, False), torch.float32)


def test_numpy_in_numpy_out(rng):
    x, v = rng.standard_normal((5, 6)), rng.standard_normal((4, 6))[::-1]
    u, y = fh.householder_product(v), fh.householder_apply(x, v)
    assert isinstance(u, np.ndarray)
    assert isinstance(y, np.ndarray)
    np.testing.assert_allclose(u, naive(torch.from_numpy(v.copy())), atol=1e-12)
    np.testing.assert_allclose(y, x @ u.T, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("value", "came"), [(0, "a zero vector"), (torch.nan, "a NaN or an infinity"), (-torch.inf, "a NaN or an infinity")]
)
def test_a_vector_without_a_direction_is_named(dtype, value, came):
    v = normal(4, 6, dtype=dtype)
    v[2] = value
    message = f"expected v with rows that are finite and not zero, got {came} in row 2"
    with pytest.raises(ValueError, match="householder_product: " + message):
        fh.householder_product(v)
    for x in (torch.zeros(3, 6, dtype=dtype), torch.zeros(0, 6, dtype=dtype)):
        with pytest.raises(ValueError, match="householder_apply: " + message):
            fh.householder_apply(x, v.requires_grad_(), kernel="torch")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(3, 2, dtype=torch.int64),), TypeError, "expected v of a floating-point dtype, got int64"),
        ((torch.ones(3),), ValueError, r"expected v of shape \[l, k\] .* got \[3\]; pass v\[None\]"),
        ((torch.ones(3, 2),), ValueError, r"expected v of shape \[l, k\] with l from 1 to k, got \[3, 2\]"),
        ((torch.ones(0, 2),), ValueError, r".* with l from 1 to k, got \[0, 2\]"),
        ((torch.ones(1, 0),), ValueError, r".* with l from 1 to k, got \[1, 0\]"),
        ((np.array([["a"]]),), TypeError, "expected v to be a numeric array"),
    ],
    ids=str,
)
def test_bad_vectors(arguments, error, message):
    with pytest.raises(error, match="householder_product: " + message):
        fh.householder_product(*arguments)
    with pytest.raises(error, match="householder_apply: " + message):
        fh.householder_apply(torch.ones(2, 2), *arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.ones(3, 2).int(), torch.ones(1, 2)), TypeError, "expected x of a floating-point dtype, got int32"),
        ((torch.ones(2), torch.ones(1, 2)), ValueError, r"expected x of shape \[n, 2\], as wide as v, got \[2\]; pass"),
        ((torch.ones(3, 4), torch.ones(1, 2)), ValueError, r"expected x of shape \[n, 2\], as wide as v, got \[3, 4\]"),
        ((torch.ones(3, 2).double(), torch.ones(1, 2)), TypeError, "expected v of dtype float64, as x is, .* float32"),
        ((torch.ones(3, 2), torch.ones(1, 2).half()), TypeError, "expected v of dtype float32, .* got float16"),
        ((torch.ones(3, 2), torch.ones(1, 2, device="meta")), ValueError, "expected v on cpu, .* got meta"),
        ((torch.ones(3, 2), torch.ones(1, 2), "yes"), TypeError, "expected transpose to be True or False, got 'yes'"),
    ],
    ids=str,
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match="householder_apply: " + message):
        fh.householder_apply(*arguments)


def test_a_bad_kernel_is_named_by_the_public_function():
    with pytest.raises(ValueError, match="householder_product: expected kernel to be one of .* got 'fast'"):
        fh.householder_product(torch.ones(1, 2), kernel="fast")


@pytest.mark.parametrize(("l", "k"), [(1, 1), (1, 3), (3, 8), (8, 8), (20, 33)])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("n", [None, 0, 5])
def test_the_decomposition_is_the_op(l, k, transpose, n):
    v = torch.randn(l, k, dtype=torch.float64, requires_grad=True)
    x = None if n is None else torch.randn(n, k, dtype=torch.float64, requires_grad=True)
    expected, found = reference.householder_apply(x, v, transpose)[0], decomposed_apply(x, v, transpose)
    torch.testing.assert_close(found, expected)
    leaves = [v] if x is None else [x, v]
    assert torch.autograd.gradcheck(lambda *_: decomposed_apply(x, v, transpose), leaves, fast_mode=l == 20)
