"""What the codes of a trained network retrieve."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from fasthash.data import ImageFiles
from fasthash.errors import check_values, dtype_name, naming_memory
from fasthash.evaluate import (
    bit_entropy,
    mean_average_precision,
    precision_at,
    precision_within,
    quantization_angle,
)
from fasthash.evaluate.names import BY_EMBEDDINGS
from fasthash.hashers import AffineHasher
from fasthash.ops.arrays import to_tensor
from fasthash.ops.packing import pack_bits
from fasthash.recipes.batches import Items, Loaded

COLLAPSED = 0.1  # the mean entropy of a bit below which codes say next to nothing


def check_outputs(where: str, u: torch.Tensor, n: int, n_bits: int | None = None) -> None:
    """Raise unless a network returned floating-point [n, n_bits] for n items."""
    wanted = f"{where}: expected network to return floating-point [{n}, {n_bits or 'n_bits'}] for {n} items"
    if not isinstance(u, torch.Tensor):
        raise TypeError(f"{wanted}, got {type(u).__name__}")
    if not u.is_floating_point() or u.ndim != 2 or len(u) != n or (n_bits is not None and u.shape[1] != n_bits):
        raise ValueError(f"{wanted}, got {dtype_name(u)} {list(u.shape)}")


def network_outputs(
    network: nn.Module, items: Loaded, workers: int = 0, n_bits: int | None = None, *, progress: bool = False
) -> torch.Tensor:
    """Return the network's outputs in evaluation mode for some items in their order, float32 [n, n_bits] on the CPU."""
    weights = next(itertools.chain(network.parameters(), network.buffers()), torch.empty(0))
    network.eval()
    outputs = []
    with torch.inference_mode():
        bar = {"desc": "outputs", "unit": "batch", "leave": False, "delay": 2, "disable": not progress}
        for batch, _, _ in tqdm(items.in_order(workers), **bar):
            u = network(batch.to(weights.device))
            check_outputs("train", u, len(batch), n_bits)
            outputs.append(u.float().cpu())
    return torch.cat(outputs)


@naming_memory("encode")
def encode(network: nn.Module, items: Items, rotation: AffineHasher | None = None) -> NDArray[np.uint8]:
    """Return the packed codes of items.

    Args:
        network: from items to outputs; put into evaluation mode.
        items: as the network takes them, [n, ...], or image files.
        rotation: of its outputs before the signs.

    Returns:
        uint8 [n, ceil(n_bits / 8)].
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"encode: expected network to be an nn.Module, got {type(network).__name__}")
    if rotation is not None and not isinstance(rotation, AffineHasher):
        raise TypeError(f"encode: expected rotation to be an AffineHasher, got {type(rotation).__name__}")
    if not isinstance(items, ImageFiles):
        x = to_tensor("encode", "items", items).detach()
        check_values("encode", "items", x)
        if x.is_complex():
            raise TypeError(f"encode: expected items of real numbers, got {dtype_name(x)}")
        if x.is_floating_point() and (x.dtype == torch.bfloat16 or x.dtype.itemsize == 1):
            x = x.float()  # NumPy has none of these
        items = x.cpu().numpy()
    if isinstance(items, np.ndarray) and (items.dtype.kind not in "uifb" or items.ndim < 2):
        raise ValueError(f"encode: expected items as numbers [n, ...], got {items.dtype} {list(items.shape)}")
    n = len(items)
    image_size = getattr(network, "image_size", None)
    u = network_outputs(network, Loaded(items, np.zeros(n, np.int64), np.arange(n), image_size))
    u = u if rotation is None else rotation.transform(u)
    if u.isnan().any():
        row = int(u.isnan().any(1).nonzero()[0])
        raise ValueError(f"encode: expected items whose outputs are numbers, got a NaN for item {row}")
    return np.asarray(pack_bits(u))


def evaluate_codes(
    query: torch.Tensor,
    query_labels: torch.Tensor,
    database: torch.Tensor,
    labels: torch.Tensor,
    at: int | None = None,
    ties: str = "expected",
) -> dict[str, float]:
    """Return what the signs of outputs retrieve.

    Args:
        query: outputs [q, n_bits].
        query_labels: [q] or [q, c].
        database: outputs [n, n_bits].
        labels: [n] or [n, c].
        at: how many of the nearest items the mean average precision counts; None for all.
        ties: the rule for items at equal distance, see `mean_average_precision`; embeddings are the outputs.

    Returns:
        "mAP", "precision_at_100", "precision_at_1000" and "precision_within_2"; of the database, "quantization_angle"
        in radians, "bit_entropy", the mean over bits, and "distinct_codes", how many there are.
    """
    codes = pack_bits(database)
    retrieval, rule = (pack_bits(query), query_labels, codes, labels), tie_rule(ties, query, database)
    return {
        "mAP": mean_average_precision(*retrieval, at=None if at is None else min(at, len(database)), **rule),
        "precision_at_100": precision_at(min(100, len(database)), *retrieval, **rule),
        "precision_at_1000": precision_at(min(1000, len(database)), *retrieval, **rule),
        "precision_within_2": precision_within(2, *retrieval),
        "quantization_angle": quantization_angle(database),
        "bit_entropy": float(bit_entropy(codes, database.shape[1]).mean()),
        "distinct_codes": len(torch.unique(codes, dim=0)),
    }


def tie_rule(ties: str, query: torch.Tensor, database: torch.Tensor) -> dict[str, Any]:
    """Return the metrics' arguments for a rule for items at equal distance, given the outputs."""
    return {"ties": ties} | ({"query_embeddings": query, "embeddings": database} if ties in BY_EMBEDDINGS else {})


def warn_of_collapse(results: Mapping[str, float], n_classes: int, n_bits: int) -> None:
    """Warn if what `evaluate_codes` found of a training's codes says that they hardly tell items apart."""
    entropy, n_codes = results["bit_entropy"], int(results["distinct_codes"])
    if entropy < COLLAPSED or n_codes < min(n_classes, 2**n_bits):
        warnings.warn(
            f"train: the codes have collapsed: {n_codes} distinct ones for {n_classes} classes, of bits that have an "
            f"entropy of {entropy:.3f} in the mean; try another learning rate, batch size or weight of a term",
            stacklevel=2,
        )
