"""What the codes of a trained network retrieve."""

from __future__ import annotations

import torch

from fasthash.evaluate import (
    bit_entropy,
    mean_average_precision,
    precision_at,
    precision_within,
    quantization_angle,
)
from fasthash.ops.packing import pack_bits
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.training import Loaded


def network_outputs(network: HashingNetwork, items: Loaded, workers: int = 0) -> torch.Tensor:
    """Return the network's outputs in evaluation mode for some items in their order, float32 [n, n_bits] on the CPU."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(batch.to(device)).float().cpu() for batch, _, _ in items.in_order(workers)])


def evaluate_codes(
    query: torch.Tensor,
    query_labels: torch.Tensor,
    database: torch.Tensor,
    labels: torch.Tensor,
    at: int | None = None,
) -> dict[str, float]:
    """Return what the signs of outputs retrieve.

    Args:
        query: outputs [q, n_bits].
        query_labels: [q] or [q, c].
        database: outputs [n, n_bits].
        labels: [n] or [n, c].
        at: how many of the nearest items the mean average precision counts; None for all.

    Returns:
        "mAP", "precision_at_100", "precision_at_1000" and "precision_within_2", ties averaged over;
        "quantization_angle" in radians and "bit_entropy", the mean over bits, of the database.
    """
    codes = pack_bits(database)
    retrieval = (pack_bits(query), query_labels, codes, labels)
    return {
        "mAP": mean_average_precision(*retrieval, at=None if at is None else min(at, len(database))),
        "precision_at_100": precision_at(min(100, len(database)), *retrieval),
        "precision_at_1000": precision_at(min(1000, len(database)), *retrieval),
        "precision_within_2": precision_within(2, *retrieval),
        "quantization_angle": quantization_angle(database),
        "bit_entropy": float(bit_entropy(codes, database.shape[1]).mean()),
    }
