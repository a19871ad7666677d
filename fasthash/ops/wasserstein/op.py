"""Wasserstein distances of each column of a batch, the quantisation losses of learning to hash."""

from __future__ import annotations

import math
from typing import Any

import torch

from fasthash.errors import (
    MAX_INTEGER,
    check_choice,
    check_device,
    check_flag,
    check_floating,
    check_generator,
    check_integer,
    check_matrix,
    check_number,
    dtype_name,
    memory_error,
)
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.declaration import Gradient, declare
from fasthash.ops.registry import Kernel, choose, cpu_kernels, is_jit_traced, is_traced
from fasthash.ops.wasserstein import distributed

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
    group: torch.distributed.ProcessGroup | None = None,
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
        group: a process group, `torch.distributed.group.WORLD` say, whose ranks hold parts of one batch: each returns
            the loss of the whole batch, found from counts that the ranks add up, never from gathered values. As
            DistributedDataParallel averages gradients over ranks, that of the loss on each is summed over ranks.
        kernel: a name from `fasthash.ops.wasserstein.KERNELS`; by default the best one for the device.

    Returns:
        A scalar of the dtype of `x`, differentiable in `x`; a second derivative is an error.

    Raises:
        TypeError: if `x` is not floating-point.
        ValueError: if another argument is not as described.

    Source: Doan, Yang, Li, "One Loss for Quantization: Deep Hashing with Discrete Wasserstein Distributional Matching",
    2022; Doan et al., "Image Hashing by Minimizing Independent Relaxed Wasserstein Distance", 2020.
    """
    where = "hswd"
    law = check_law(where, p, target, values)
    sample = check_sample(where, "x", x)
    loss = distance_to_bits(where, sample, target, *law, root, generator, group, kernel)
    return as_given(loss, x)


def check_law(where: str, p: float, target: str, values: tuple[float, float]) -> tuple[float, float, float]:
    """Return p and the two values that `hswd` takes, or raise a TypeError or ValueError."""
    check_choice(where, "target", target, ("balanced", "bernoulli"))
    check_number(where, "p", p, minimum=1)
    try:
        low, high = map(float, values)
    except (OverflowError, RuntimeError, TypeError, ValueError):
        raise TypeError(f"{where}: expected values to be two numbers, got {values!r}") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{where}: expected values finite and in ascending order, got {values}")
    return float(p), low, high


def distance_to_bits(
    where: str,
    u: torch.Tensor,
    target: str,
    p: float,
    low: float,
    high: float,
    root: bool,
    generator: torch.Generator | None,
    group: torch.distributed.ProcessGroup | None,
    kernel: str | None = None,
) -> torch.Tensor:
    """Return `hswd` of a checked sample and law. Errors begin with `where`."""
    if group is not None and not isinstance(group, torch.distributed.ProcessGroup):
        raise TypeError(f"{where}: expected group to be a ProcessGroup, got {type(group).__name__}")
    check_flag(where, "root", root)
    check_generator(where, "generator", generator, u.device)
    if is_jit_traced():
        raise RuntimeError(
            f"{where}: expected no torch.jit.trace, which would keep the number of rows; torch.export does not"
        )
    if group is not None or target != "balanced":
        choose(KERNELS, u.device, kernel, where)  # before numbers are drawn
    n, m = u.shape

    def loss_to(n_low: torch.Tensor | None, split: float) -> torch.Tensor:
        loss: torch.Tensor = two_point_op(u, n_low, split, low, high, p, kernel=kernel, where=where)
        return loss

    if group is not None:
        loss = distributed.two_point_wasserstein(u, loss_to, target, low, high, p, generator, group)
    elif target == "balanced":
        loss = loss_to(None, n % 2 / 2)
    else:
        loss = loss_to(
            distributed.fair_coins(torch.full((m,), float(n), dtype=torch.float32, device=u.device), generator), 0.0
        )
    return p_th_root(loss, p) if root else loss


def p_th_root(loss: torch.Tensor, p: float) -> torch.Tensor:
    """Return the p-th root of a mean of p-th powers; where that is 0 the root has no slope, and passes that of 0."""
    is_zero = loss == 0
    return torch.where(is_zero, loss, torch.where(is_zero, 1, loss) ** (1 / p))


def wasserstein_1d(x: Array, y: Array, p: float = 2, *, root: bool = False, kernel: str | None = None) -> Array:
    """Return the Wasserstein distance between two samples, column by column, averaged over the columns.

    For a column it is the integral over q from 0 to 1 of |Q_x(q) - Q_y(q)|^p, Q being the sample's quantile function;
    for as many rows in both, `mean |sorted x - sorted y|^p`. Equal values are taken in the order of their rows.

    Args:
        x: [n, m] of float32, float64, float16 or bfloat16, n and m at least 1, any strides. A NaN makes the loss NaN.
        y: [k, m], of the dtype and on the device of `x`, k at least 1.
        p: at least 1.
        root: whether to take the p-th root of the mean over columns.
        kernel: a name from `fasthash.ops.wasserstein.KERNELS`; by default the best one for the device.

    Returns:
        A scalar of the dtype of `x`, differentiable in `x` and `y`; a second derivative is an error.

    Raises:
        TypeError: if `x` or `y` is not floating-point, or their dtypes differ.
        ValueError: if another argument is not as described.

    Source: Peyre, Cuturi, "Computational Optimal Transport", 2019, remark 2.30.
    """
    u, v = check_samples("wasserstein_1d", x=x, y=y)
    check_number("wasserstein_1d", "p", p, minimum=1)
    check_flag("wasserstein_1d", "root", root)
    loss = sorted_op(u, v, float(p), kernel=kernel, where="wasserstein_1d")
    return as_given(p_th_root(loss, p) if root else loss, x)


def sliced_wasserstein(
    x: Array,
    y: Array,
    n_projections: int = 1000,
    p: float = 2,
    *,
    root: bool = False,
    generator: torch.Generator | None = None,
    kernel: str | None = None,
) -> Array:
    """Return the mean Wasserstein distance between projections of two samples on random directions.

    It is `wasserstein_1d(x @ d, y @ d)` over the columns d of a random matrix, drawn anew in every call, uniform on the
    sphere. A part of the projections at a time is made, compared and forgotten.

    Args:
        x: [n, m] of float32, float64, float16 or bfloat16, n and m at least 1, any strides.
        y: [k, m], of the dtype and on the device of `x`, k at least 1.
        n_projections: at least 1.
        p: at least 1.
        root: whether to take the p-th root of the mean over projections.
        generator: of the directions, on the device of `x`.
        kernel: a name from `fasthash.ops.wasserstein.KERNELS`; by default the best one for the device.

    Returns:
        A scalar of the dtype of `x`, differentiable in `x` and `y`; a second derivative is an error.

    Raises:
        TypeError: if `x` or `y` is not floating-point, or their dtypes differ, or `n_projections` is not an integer.
        ValueError: if another argument is not as described.

    Source: Bonneel, Rabin, Peyre, Pfister, "Sliced and Radon Wasserstein Barycenters of Measures", 2015.
    """
    where = "sliced_wasserstein"
    u, v = check_samples(where, x=x, y=y)
    n_projections = check_integer(where, "n_projections", n_projections, 1)
    check_number(where, "p", p, minimum=1)
    check_flag(where, "root", root)
    loss = sliced_distance(where, u, v, n_projections, float(p), generator, kernel)
    return as_given(p_th_root(loss, p) if root else loss, x)


def sliced_distance(
    where: str,
    u: torch.Tensor,
    v: torch.Tensor,
    n_projections: int,
    p: float,
    generator: torch.Generator | None,
    kernel: str | None = None,
) -> torch.Tensor:
    """Return `sliced_wasserstein` of checked samples. Errors begin with `where`."""
    check_generator(where, "generator", generator, u.device)
    most = MAX_INTEGER // (8 * u.shape[1])
    check_integer(where, "n_projections", n_projections, 1, most)
    wide = torch.float64 if u.dtype == torch.float64 else torch.float32
    try:
        directions = torch.randn(u.shape[1], n_projections, dtype=wide, device=u.device, generator=generator)
    except RuntimeError as error:
        raise memory_error(f"{where} of {n_projections} n_projections", error) or error from None
    directions /= directions.norm(dim=0)
    loss: torch.Tensor = sliced_op(u.to(wide), v.to(wide), directions, p, kernel=kernel, where=where).to(u.dtype)
    return loss


def check_sample(where: str, name: str, x: Array) -> torch.Tensor:
    """Return `x` as a tensor [n, m], or raise a TypeError or ValueError."""
    u = to_tensor(where, name, x)
    check_floating(where, name, u)
    check_matrix(where, name, u, "m")
    if 0 in u.shape:
        raise ValueError(f"{where}: expected {name} with at least one row and one column, got {list(u.shape)}")
    return u


def check_samples(where: str, **samples: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two samples, given by their names, as tensors that can be compared, or raise a TypeError or ValueError."""
    first, second = samples
    u, v = (check_sample(where, name, x) for name, x in samples.items())
    if u.dtype != v.dtype:
        raise TypeError(f"{where}: expected {second} of the dtype of {first}, {dtype_name(u)}, got {dtype_name(v)}")
    check_device(where, second, v, u.device)
    if u.shape[1] != v.shape[1]:
        raise ValueError(f"{where}: expected {second} with as many columns as {first}, {u.shape[1]}, got {v.shape[1]}")
    return u, v


def _is_one(upstream: torch.Tensor) -> bool:
    """Return whether the upstream gradient is known to be 1: a pass over a large gradient costs more than a kernel."""
    return upstream.is_cpu and not is_traced(upstream) and upstream.item() == 1


def _two_point_fake(
    x: torch.Tensor, n_low: torch.Tensor | None, split: float, low: float, high: float, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    if not with_gradient:
        saved = x.new_empty((0, 0))
    elif x.device.type == "cuda":
        saved = x.new_empty((2, x.shape[1]), dtype=torch.int64)
    else:
        saved = x.new_empty(x.shape)
    return x.new_empty(()), saved


def _save_parting(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[torch.Tensor, ...]) -> None:
    x, _, *ctx.law, _ = inputs
    ctx.save_for_backward(x, outputs[1])


def _two_point_gradient(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor]:
    x, saved = ctx.saved_tensors
    if _is_one(upstream):
        return (saved,)
    return (two_point_backward_op(upstream, x, saved, *ctx.law, **ctx.options),)


def _two_point_backward_fake(
    upstream: torch.Tensor, x: torch.Tensor, saved: torch.Tensor, split: float, low: float, high: float, p: float
) -> torch.Tensor:
    return x.new_empty(x.shape)


def _sorted_fake(
    x: torch.Tensor, y: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shapes = (x.shape, y.shape) if with_gradient else ((0, 0), (0, 0))
    return x.new_empty(()), x.new_empty(shapes[0]), x.new_empty(shapes[1])


def _sliced_fake(
    x: torch.Tensor, y: torch.Tensor, directions: torch.Tensor, p: float, with_gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return _sorted_fake(x, y, p, with_gradient)


def _save_gradients(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[torch.Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:2], *outputs[1:])


def _saved_gradients(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, ...]:
    gradients = ctx.saved_tensors[2:]
    return tuple(gradients) if _is_one(upstream) else tuple(gradient * upstream for gradient in gradients)


two_point_op = declare(
    "two_point_wasserstein(Tensor x, Tensor? n_low, float split, float low, float high, float p, bool with_gradient)"
    " -> (Tensor, Tensor)",
    KERNELS,
    _two_point_fake,
    Gradient(_save_parting, _two_point_gradient),
)
two_point_backward_op = declare(
    "two_point_backward(Tensor upstream, Tensor x, Tensor saved, float split, float low, float high, float p)"
    " -> Tensor",
    KERNELS,
    _two_point_backward_fake,
)
sorted_op = declare(
    "sorted_wasserstein(Tensor x, Tensor y, float p, bool with_gradient) -> (Tensor, Tensor, Tensor)",
    KERNELS,
    _sorted_fake,
    Gradient(_save_gradients, _saved_gradients),
)
sliced_op = declare(
    "sliced_wasserstein(Tensor x, Tensor y, Tensor directions, float p, bool with_gradient)"
    " -> (Tensor, Tensor, Tensor)",
    KERNELS,
    _sliced_fake,
    Gradient(_save_gradients, _saved_gradients),
)
