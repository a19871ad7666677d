"""Wasserstein distances of each column of a batch, the quantisation losses of learning to hash."""

from __future__ import annotations

from typing import Any

import torch

from fasthash.errors import check_choice, check_matrix, dtype_name
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.registry import LIBRARY, Kernel, cpu_kernels, dispatch, register

KERNELS = {
    "reference": Kernel("fasthash.ops.wasserstein.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.wasserstein.kernel_cpu"),
    "numba": Kernel("fasthash.ops.wasserstein.kernel_numba", ("cpu",), package="numba"),
    "triton": Kernel("fasthash.ops.wasserstein.kernel_triton", ("cuda",), package="triton"),
}


def hswd(
    x: Array,
    p: float = 2,
    target: str = "balanced",
    *,
    values: tuple[float, float] = (-1.0, 1.0),
    root: bool = False,
    generator: torch.Generator | None = None,
    kernel: str | None = None,
) -> Array:
    """Return how far the columns of `x` are from bits: their mean Wasserstein distance to a two-point law.

    The loss is `mean |sorted x - sorted target|^p` over the n m elements. The sorted target is a step, so value and
    gradient need the partition of each column at one rank, not a sort. Equal values are taken in the order of their
    rows, as a stable sort does.

    Args:
        x: [n, m] of float32, float64, float16 or bfloat16, n and m at least 1, any strides. A NaN makes the loss NaN.
        p: at least 1.
        target: "balanced", half of the mass at each value (for odd n the median's mass is split), or "bernoulli", each
            of n elements either value with probability 1/2, drawn anew in every call (as the papers' code does).
        values: the two values, ascending; (0, 1) for codes after a sigmoid.
        root: whether to take the p-th root of the mean.
        generator: of the draws, on the device of `x`.
        kernel: a name from `fasthash.ops.wasserstein.KERNELS`; by default the best one for the device.

    Returns:
        A scalar of the dtype of `x`, differentiable in `x`; a second derivative is an error.

    Raises:
        TypeError: if `x` is not floating-point.
        ValueError: if another argument is not as described.

    Source: Doan, Yang, Li, "One Loss for Quantization: Deep Hashing with Discrete Wasserstein Distributional Matching",
    2022; Doan et al., "Image Hashing by Minimizing Independent Relaxed Wasserstein Distance", 2020.
    """
    u = to_tensor("hswd", "x", x)
    if not u.is_floating_point():
        raise TypeError(f"hswd: expected x of a floating-point dtype, got {dtype_name(u)}")
    check_matrix("hswd", "x", u, "m")
    n, m = u.shape
    if n == 0 or m == 0:
        raise ValueError(f"hswd: expected x with at least one row and one column, got {[n, m]}")
    check_choice("hswd", "target", target, ("balanced", "bernoulli"))
    if not p >= 1:
        raise ValueError(f"hswd: expected p at least 1, got {p}")
    low, high = map(float, values)
    if not low < high:
        raise ValueError(f"hswd: expected values in ascending order, got {values}")
    if target == "balanced":
        n_low, split = torch.full((m,), n // 2, device=u.device), n % 2 / 2
    else:
        trials = torch.full((m,), float(n), device=u.device)
        n_low, split = torch.binomial(trials, trials.new_full((m,), 0.5), generator=generator).long(), 0.0
    loss = _loss(u, kernel, n_low, split, low, high, float(p))
    return as_given(loss ** (1 / p) if root else loss, x)


def _loss(u: torch.Tensor, kernel: str | None, *law: Any) -> torch.Tensor:
    function = dispatch(KERNELS, "two_point_wasserstein", u, kernel, where="hswd")
    wanted = u.requires_grad and torch.is_grad_enabled()
    differentiates_itself = function is torch.ops.fasthash.two_point_wasserstein
    if wanted and not differentiates_itself:
        return _Loss.apply(u, function, law)  # type: ignore[no-any-return, no-untyped-call]
    loss: torch.Tensor = function(u, *law, wanted)[0]
    return loss


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, function: Any, law: tuple[Any, ...]) -> torch.Tensor:
        loss, gradient = function(u, *law, True)
        ctx.save_for_backward(u, gradient)
        return loss  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        u, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():
            gradient = _OnlyOnce.apply(u, gradient)  # type: ignore[no-untyped-call]
        elif upstream.device.type == "cpu" and upstream.item() == 1:
            return gradient, None, None  # a pass over a large gradient costs more than the kernel
        return gradient * upstream, None, None


class _OnlyOnce(torch.autograd.Function):
    """Makes the derivative of a gradient an error where it would silently be taken for zero."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[None, None]:
        raise RuntimeError("hswd: expected one derivative to be taken, got a second; the kernels know only the first")


def _two_point_fake(
    x: torch.Tensor, n_low: torch.Tensor, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(()), x.new_empty(x.shape if with_gradient else (0, 0))


def _save_gradient(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1])


def _backward(ctx: Any, upstream: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
    (gradient,) = ctx.saved_tensors
    return gradient * upstream, None, None, None, None, None, None


register(
    "two_point_wasserstein(Tensor x, Tensor n_low, float split, float low, float high, float p, bool with_gradient)"
    " -> (Tensor, Tensor)",
    KERNELS,
    _two_point_fake,
)
torch.library.register_autograd("fasthash::two_point_wasserstein", _backward, setup_context=_save_gradient, lib=LIBRARY)
