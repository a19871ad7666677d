"""Householder products in operators that every exporter knows, for programs that run without this package."""

from __future__ import annotations

import torch
from torch.nn import functional

from fasthash.ops.autocast import without_autocast


@without_autocast
def decomposed_apply(x: torch.Tensor | None, v: torch.Tensor, transpose: bool) -> torch.Tensor:
    """Return the rows that `householder_apply` does, as a product with the matrix, differentiable.

    Blocks of reflections are I - W^T T W with T upper triangular; neighbours A and C are one block with T = [T_A, -T_A
    W_A W_C^T T_C; 0, T_C], so that log2(l) steps make the whole.
    """
    w = functional.normalize(v, dim=1, eps=0.0)
    l, k = map(int, w.shape)
    n_blocks = 1 << (l - 1).bit_length()
    w = functional.pad(w, (0, 0, 0, n_blocks - l)).reshape(n_blocks, 1, k)  # a row of zeros reflects nothing
    t = torch.full((n_blocks, 1, 1), 2.0, dtype=v.dtype, device=v.device)
    while n_blocks > 1:
        w_a, w_c, t_a, t_c = w[0::2], w[1::2], t[0::2], t[1::2]
        corner = -(t_a @ w_a @ w_c.transpose(1, 2) @ t_c)
        t = torch.cat([torch.cat([t_a, corner], 2), torch.cat([torch.zeros_like(corner), t_c], 2)], 1)
        w = torch.cat([w_a, w_c], 1)
        n_blocks //= 2
    u = torch.eye(k, dtype=v.dtype, device=v.device) - w[0].T @ t[0] @ w[0]
    matrix = u if transpose else u.T
    return matrix if x is None else x @ matrix
