"""Real queries as small integers, and the scores of what was found for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fasthash.ops.declaration import RefusedError


@dataclass(frozen=True, eq=False)
class QuantizedQueries:
    """Queries as integers times a scale.

    Attributes:
        weights: int8 [q, 8 * n_bytes], 0 at the spare bits of a code.
        scale: float32 or float64 [q].
    """

    weights: torch.Tensor
    scale: torch.Tensor

    def scores(self, distances: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the scores [q, k] of codes at int32 weighted distances [q, k], -inf where the id is -1.

        The weighted distance is the sum of |w_b| at the bits where a code's sign is not that of w_b.
        """
        total = self.weights.abs().sum(1, dtype=torch.int32)
        scores = (total[:, None] - 2 * distances.clamp(max=2**20)).to(self.scale) * self.scale[:, None]
        return scores.masked_fill(ids < 0, -torch.inf)


def quantized(projections: torch.Tensor, n_bytes: int, bits: int) -> QuantizedQueries:
    """Return finite projections [q, b] as integers of so many bits, for codes of n_bytes."""
    x = projections.to(torch.promote_types(projections.dtype, torch.float32))
    if not bool(x.isfinite().all()):
        row, column = (~x.isfinite()).nonzero()[0].tolist()
        raise RefusedError(f"expected finite projections, got {x[row, column].item()} in row {row}, column {column}")
    if bits == 1:
        weights, scale = torch.where(x > 0, 1, -1), x.abs().mean(1)
    else:
        largest, levels = x.abs().amax(1), 2 ** (bits - 1) - 1
        weights = (x / largest.masked_fill(largest == 0, 1)[:, None] * levels).round()
        scale = largest / levels
    padded = torch.nn.functional.pad(weights.to(torch.int8), (0, 8 * n_bytes - x.shape[1]))
    return QuantizedQueries(padded, scale)
