from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from fasthash.hashers.base import Hasher, within_squares
from fasthash.ops.packing.op import FLOATING, sides


class AffineHasher(Hasher):
    """Base of the hashers whose code is the signs of `(x - mean_) @ projection_`. A subclass defines `_fit_affine`.

    `encode` compares `x @ projection_` with `offset_` and never stores the projections. Its bits may differ from the
    signs that `transform` returns where a projection is within rounding of zero; no more than what the rounding of
    the embeddings themselves can turn, but for a factor that grows with d.

    Attributes:
        mean_: float32 [d], set by `fit`.
        projection_: float32 [d, n_bits], set by `fit`.
        offset_: float64 [n_bits], `mean_ @ projection_`.
    """

    TENSORS: ClassVar[Mapping[str, str]] = {
        "mean_": "float32 [d]",
        "projection_": "float32 [d, n_bits]",
        "offset_": "float64 [n_bits]",
    }

    mean_: torch.Tensor
    projection_: torch.Tensor
    offset_: torch.Tensor

    def _fit(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, factor = within_squares(x)
        mean, projection = self._fit_affine(where, x)
        mean = mean / factor
        return mean, projection, mean.double() @ projection.double()

    def _fit_affine(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean [d] and the projection [d, n_bits], float32, for float32 `x` [n, d].

        Where squares of `X` would leave float32, `x` is a multiple of it by a power of two; the mean is scaled back.
        """
        raise NotImplementedError

    def _check_state(self) -> None:
        super()._check_state()
        mean, projection = self.mean_.double(), self.projection_.double()
        rounding = 2 * (len(mean) + 2) * torch.finfo(mean.dtype).eps * (mean.abs() @ projection.abs())
        if ((self.offset_ - mean @ projection).abs() > rounding).any():
            raise ValueError("offset_ is not mean_ @ projection_")

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean_.to(x.device)) @ self.projection_.to(x.device)

    def _encode(self, where: str, x: torch.Tensor) -> torch.Tensor:
        x = x if x.dtype in FLOATING else x.float()
        return sides(where, x, self.projection_.to(x.device), self.offset_.to(x.device))
