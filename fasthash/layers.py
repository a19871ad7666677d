"""Layers for networks that learn to hash."""

from __future__ import annotations

import torch

from fasthash.errors import (
    check_choice,
    check_device,
    check_device_name,
    check_floating,
    check_generator,
    check_integer,
)
from fasthash.ops.arrays import check_tensor
from fasthash.ops.householder.op import rotated

_MOST_COLUMNS = 2**29  # of which an array can have as many rows


class HouseholderRotation(torch.nn.Module):
    """A learnable orthogonal matrix U, the product of l reflections: rows x_i become U x_i.

    Whatever an optimiser does to the vectors, U stays orthogonal, so distances and inner products are kept. Every
    orthogonal matrix of determinant (-1)^l is reached with l = k.

    In what torch.export, torch.jit.trace and torch.onnx.export record of it there are operators of torch alone, so that
    the program needs no fasthash where it runs. torch.jit.script does not take it.

    Attributes:
        v: the parameter [l, k], one vector a reflection; their lengths do not matter.

    Args:
        k: the number of columns, at least 1.
        n_reflections: l, from 1 to k; by default k.
        init: "random", for l = k uniform over the orthogonal matrices but for the signs of the columns, or "identity",
            which an odd number of reflections cannot be.
        generator: of the random numbers, on the CPU.
        dtype: of the parameter.
        device: of the parameter.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is not as described.
    """

    v: torch.nn.Parameter

    def __init__(
        self,
        k: int,
        n_reflections: int | None = None,
        *,
        init: str = "random",
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        where = "HouseholderRotation"
        check_generator(where, "generator", generator, torch.device("cpu"))
        if dtype is not None and (not isinstance(dtype, torch.dtype) or not dtype.is_floating_point):
            raise TypeError(f"{where}: expected dtype to be a floating-point torch.dtype, got {dtype!r}")
        if device is not None:
            device = check_device_name(where, "device", device)
        k = check_integer(where, "k", k, 1, _MOST_COLUMNS)
        l = k if n_reflections is None else check_integer(where, "n_reflections", n_reflections, 1, k)
        if check_choice(where, "init", init, ("random", "identity")) == "random":
            v = torch.randn(l, k, generator=generator, dtype=torch.float64, device="cpu").triu()
            diagonal = v.diagonal()
            diagonal += torch.where(diagonal < 0, -1, 1) * v.norm(dim=1)
        elif l % 2 == 1:
            raise ValueError(f"{where}: expected an even number of reflections for init 'identity', got {l}")
        else:
            v = torch.randn(l // 2, k, generator=generator, dtype=torch.float64, device="cpu").repeat_interleave(2, 0)
        self.v = torch.nn.Parameter(
            v.to(dtype=dtype or torch.get_default_dtype(), device=device or torch.get_default_device())
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rotated rows of `x` [..., k], in its dtype; see `fasthash.householder_apply`."""
        return self._rotated("HouseholderRotation", x)

    def _rotated(self, where: str, x: torch.Tensor) -> torch.Tensor:
        x = check_tensor(where, "x", x)
        check_floating(where, "x", x)
        k = self.v.shape[1]
        if x.ndim == 0 or x.shape[-1] != k:
            raise ValueError(f"{where}: expected x of shape [..., {k}], got {list(x.shape)}")
        check_device(where, "x", x, self.v.device)
        v = self.v if x.dtype.itemsize == 2 and self.v.dtype == torch.float32 else self.v.to(x.dtype)
        return rotated(where, x.reshape(-1, k), v).reshape(x.shape)

    def matrix(self) -> torch.Tensor:
        """Return U [k, k], differentiable in the parameter."""
        return rotated("HouseholderRotation.matrix", None, self.v, transpose=True)

    def as_linear(self) -> torch.nn.Linear:
        """Return the layer as it is now, as a matrix that any exporter knows: a `Linear` without a bias."""
        u = rotated("HouseholderRotation.as_linear", None, self.v.detach(), transpose=True)
        linear = torch.nn.Linear(len(u), len(u), bias=False, device="meta")
        linear.weight = torch.nn.Parameter(u)
        return linear

    def fold_into(self, linear: torch.nn.Linear) -> torch.nn.Linear:
        """Return one `Linear` that does what `linear` and then this layer do.

        Raises:
            ValueError: if `linear` does not give k columns.
        """
        where, k = "HouseholderRotation.fold_into", self.v.shape[1]
        if not isinstance(linear, torch.nn.Linear):
            raise TypeError(f"{where}: expected linear to be a Linear, got {type(linear).__name__}")
        if linear.out_features != k:
            raise ValueError(f"{where}: expected a Linear with {k} outputs, got {linear.out_features}")
        folded = torch.nn.Linear(linear.in_features, k, bias=linear.bias is not None, device="meta")
        with torch.no_grad():
            folded.weight = torch.nn.Parameter(self._rotated(where, linear.weight.T).T.contiguous())
            if linear.bias is not None:
                folded.bias = torch.nn.Parameter(self._rotated(where, linear.bias))
        return folded

    def extra_repr(self) -> str:
        """Return the sizes, for `repr`."""
        l, k = self.v.shape
        return f"k={k}, n_reflections={l}"
