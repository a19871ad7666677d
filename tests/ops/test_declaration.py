"""One declaration serves eager calls, the registered op and the derivatives of both."""

from __future__ import annotations

import importlib
import itertools
import sys
from functools import partial
from types import ModuleType

import pytest
import torch

from fasthash.ops import ROOMS
from fasthash.ops.declaration import Gradient, Op, RefusedError, declare
from fasthash.ops.registry import Kernel
from fasthash.ops.wasserstein import op as wasserstein
from tests.conftest import opcheck


def toy_cube(x):
    """A kernel whose output is all there is."""
    return x.detach() ** 3


def toy_scaled(x, y, factor):
    """A kernel that keeps something for the backward pass, and refuses what no check before it sees."""
    if (x < 0).any():
        raise RefusedError("expected x of at least 0, got less")
    return (x * y).detach() * factor, y.detach() * factor, x.detach() * factor


def toy_rounded(x):
    return x.detach().round()


KERNELS = {"reference": Kernel("tests_toy_kernels", ("cpu",)), "cpu": Kernel("tests_toy_kernels", ("cpu",))}
sys.modules["tests_toy_kernels"] = ModuleType("tests_toy_kernels")
vars(sys.modules["tests_toy_kernels"]).update(toy_cube=toy_cube, toy_scaled=toy_scaled, toy_rounded=toy_rounded)

cube_op = declare(
    "toy_cube(Tensor x) -> Tensor",
    KERNELS,
    torch.empty_like,
    Gradient(
        lambda ctx, inputs, outputs: ctx.save_for_backward(inputs[0]),
        lambda ctx, upstream: (3 * ctx.saved_tensors[0] ** 2 * upstream,),
    ),
)
scaled_op = declare(
    "toy_scaled(Tensor x, Tensor y, float factor) -> (Tensor, Tensor, Tensor)",
    KERNELS,
    lambda x, y, factor: (torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)),
    Gradient(
        lambda ctx, inputs, outputs: ctx.save_for_backward(*inputs[:2], *outputs[1:]),
        lambda ctx, upstream: tuple(slope * upstream for slope in ctx.saved_tensors[2:]),
    ),
)
rounded_op = declare("toy_rounded(Tensor x) -> Tensor", KERNELS, torch.empty_like)


def normal(*shape):
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    return torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_()


def eager_and_registered(op):
    """The op as the package calls it, the named kernel, and as torch knows it."""
    registered, told = getattr(torch.ops.fasthash, op.name), (True,) * op.is_told
    first = (lambda *given: registered(*given, *told)[0]) if op.n_outputs > 1 else registered
    return op, partial(op, kernel="reference"), first


CASES = {cube_op: (normal(3),), scaled_op: (normal(3), normal(3), 2.0)}
for room in ROOMS:
    CASES |= getattr(importlib.import_module(f"fasthash.ops.{room}.example"), "differentiated", dict)()


def test_every_op_with_a_gradient_is_among_the_cases():
    declared = [vars(importlib.import_module(f"fasthash.ops.{room}.op")).values() for room in ROOMS]
    ops = {op for op in itertools.chain(*declared) if isinstance(op, Op)}
    assert {op for op in ops if op.gradient is not None} == set(CASES) - {cube_op, scaled_op}


@pytest.mark.parametrize("op", CASES, ids=lambda op: op.name)
def test_the_gradient_is_right_in_every_way_to_call_the_op(op):
    leaves = [x for x in CASES[op] if isinstance(x, torch.Tensor) and x.requires_grad]

    def of_leaves(function, *given):
        given = iter(given)
        return function(*(next(given) if any(x is leaf for leaf in leaves) else x for x in CASES[op]))

    for function in eager_and_registered(op):
        assert torch.autograd.gradcheck(partial(of_leaves, function), leaves)
    opcheck(getattr(torch.ops.fasthash, op.name), (*CASES[op], *(True,) * op.is_told))


@pytest.mark.parametrize("op", CASES, ids=lambda op: op.name)
def test_a_second_derivative_is_refused_in_every_input_and_way_to_call_the_op(op):
    leaves = [x for x in CASES[op] if isinstance(x, torch.Tensor) and x.requires_grad]
    for function in eager_and_registered(op):
        for leaf in leaves:
            (gradient,) = torch.autograd.grad(function(*CASES[op]).square().sum(), leaf, create_graph=True)
            for other in leaves:
                with pytest.raises(RuntimeError, match=f"{op.name}: expected one derivative to be taken, got a second"):
                    torch.autograd.grad(gradient.sum(), other, retain_graph=True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own, of forward mode
@pytest.mark.parametrize("op", CASES, ids=lambda op: op.name)
def test_torch_func_has_the_gradient_and_refuses_what_the_kernels_do_not_know(op):
    inputs = [x.detach() if isinstance(x, torch.Tensor) else x for x in CASES[op]]
    place = next(i for i, x in enumerate(CASES[op]) if isinstance(x, torch.Tensor) and x.requires_grad)

    def of(x):
        return op(*inputs[:place], x, *inputs[place + 1 :]).square().sum()

    leaf = inputs[place].clone().requires_grad_()
    (expected,) = torch.autograd.grad(of(leaf), leaf)
    for taken in (torch.func.grad(of), torch.func.jacrev(of)):
        torch.testing.assert_close(taken(inputs[place]), expected)
    both = torch.stack([inputs[place], inputs[place] + 1])
    torch.testing.assert_close(torch.vmap(of)(both), torch.stack([of(x) for x in both]))
    torch.testing.assert_close(torch.vmap(torch.func.grad(of))(both)[0], expected)
    with pytest.raises(RuntimeError, match=f"{op.name}: expected one derivative to be taken, got a second"):
        torch.func.jacrev(torch.func.grad(of))(inputs[place])
    with pytest.raises(RuntimeError, match=f"{op.name}: expected derivatives in reverse mode, got forward mode"):
        torch.func.jvp(of, (inputs[place],), (inputs[place],))


def test_torch_func_refuses_the_gradient_of_an_op_without_one():
    with pytest.raises(RuntimeError, match="toy_rounded: expected no derivative to be taken, got one; the op has none"):
        torch.func.grad(lambda x: rounded_op(x).sum())(torch.ones(3))
    torch.testing.assert_close(torch.vmap(rounded_op)(torch.tensor([[0.2], [0.7]])), torch.tensor([[0.0], [1.0]]))


def test_a_gradient_may_be_differentiated_in_the_weight_of_a_loss():
    x, weight = normal(5, 2), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    op, inputs = wasserstein.two_point_op, (None, 0.5, -1.0, 1.0, 2.0)
    (gradient,) = torch.autograd.grad(weight * op(x, *inputs), x, create_graph=True)
    (slope,) = torch.autograd.grad(op(x, *inputs), x)
    torch.testing.assert_close(torch.autograd.grad(gradient.sum(), weight)[0], slope.sum())


def test_errors_begin_with_the_function_that_the_user_called():
    refused = torch.tensor([-1.0])
    for x in (refused, refused.clone().requires_grad_()):
        with pytest.raises(ValueError, match="^Layer.forward: expected x of at least 0, got less$"):
            scaled_op(x, refused, 1.0, where="Layer.forward")
        with pytest.raises(ValueError, match="^toy_scaled: expected x of at least 0, got less$"):
            torch.ops.fasthash.toy_scaled(x, refused, 1.0)
    x = torch.ones(3, requires_grad=True)
    (gradient,) = torch.autograd.grad(cube_op(x, where="Layer.forward").sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^Layer\.forward: expected one derivative to be taken, got a second"):
        gradient.sum().backward()
    with pytest.raises(ValueError, match=r"^Layer\.forward: expected kernel to be one of 'reference', 'cpu', got 'x'$"):
        cube_op(x, kernel="x", where="Layer.forward")
    with pytest.raises(ValueError, match="^toy_cube: expected tensors on a CPU, got meta$"):
        cube_op(x.to("meta"))


def test_an_op_without_a_gradient_refuses_one():
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="toy_rounded: expected no derivative to be taken, got one; the op has none"):
        torch.ops.fasthash.toy_rounded(x).sum().backward()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated")  # torch's own, when it traces a Function
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_named_kernel_is_compiled_too():
    torch.compiler.reset()
    x = normal(3)
    y = torch.compile(lambda x: cube_op(x * 2, kernel="reference"), backend="aot_eager")(x)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], 24 * x.detach() ** 2)


def test_what_is_kept_for_the_backward_pass_has_no_gradient():
    for op, inputs in CASES.items():
        if op.n_outputs > 1:
            first, *others = getattr(torch.ops.fasthash, op.name)(*inputs, *(True,) * op.is_told)
            assert first.requires_grad
            assert not any(x.requires_grad for x in others)


def test_a_gradient_may_not_be_differentiated_in_what_it_is_a_product_of():
    for op, inputs in CASES.items():
        y = op(*inputs)
        if y.ndim > 0:
            weights = torch.ones_like(y).requires_grad_()
            leaf = next(x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad)
            (gradient,) = torch.autograd.grad((y * weights).sum(), leaf, create_graph=True)
            with pytest.raises(RuntimeError, match="expected one derivative to be taken, got a second"):
                torch.autograd.grad(gradient.sum(), weights)
