"""Householder products by the compiled core."""

from __future__ import annotations

import torch

from fasthash import _core


def householder_apply(
    x: torch.Tensor | None, v: torch.Tensor, transpose: bool, isa: str = ""
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the rotated rows [n, k], and for the backward pass Q [n, l] and the inverse of S [l, l]."""
    l, k = v.shape
    n = k if x is None else len(x)
    y, q, s_inverse = (torch.empty(shape, dtype=v.dtype, device="cpu") for shape in ((n, k), (n, l), (l, l)))
    rows = None if x is None else x.detach().contiguous().numpy()
    vectors = v.detach().contiguous().numpy()
    _core.householder_apply(rows, vectors, transpose, y.numpy(), q.numpy(), s_inverse.numpy(), 0, isa)
    return y, q, s_inverse


def householder_backward(
    dy: torch.Tensor,
    rows: torch.Tensor | None,
    v: torch.Tensor,
    q: torch.Tensor,
    s_inverse: torch.Tensor,
    transpose: bool,
    with_dx: bool,
    isa: str = "",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients in `x`, or an empty tensor, and in `v`."""
    dx = torch.empty(dy.shape if with_dx else (0, 0), dtype=v.dtype, device="cpu")
    dv = torch.empty(v.shape, dtype=v.dtype, device="cpu")
    _core.householder_backward(
        dy.detach().contiguous().numpy(), None if rows is None else rows.detach().contiguous().numpy(),
        v.detach().contiguous().numpy(), q.detach().contiguous().numpy(), s_inverse.detach().contiguous().numpy(),
        transpose, dx.numpy() if with_dx else None, dv.numpy(), 0, isa,
    )  # fmt: skip
    return dx, dv
