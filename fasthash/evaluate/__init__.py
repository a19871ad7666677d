"""Retrieval metrics on codes, and pictures of them (`fasthash.evaluate.plots`, which needs matplotlib)."""

from fasthash.evaluate.codes import bit_entropy, quantization_angle
from fasthash.evaluate.metrics import (
    PrecisionRecallCurve,
    mean_average_precision,
    precision_at,
    precision_recall_curve,
)

__all__ = [
    "PrecisionRecallCurve",
    "bit_entropy",
    "mean_average_precision",
    "precision_at",
    "precision_recall_curve",
    "quantization_angle",
]
