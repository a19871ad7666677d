from . import plots
from .codes import bit_entropy, quantization_angle
from .metrics import (
    PrecisionRecallCurve,
    mean_average_precision,
    precision_at,
    precision_recall_by_rank,
    precision_recall_curve,
    precision_within,
    recall_at,
)

__all__ = [
    "PrecisionRecallCurve",
    "bit_entropy",
    "mean_average_precision",
    "plots",
    "precision_at",
    "precision_recall_by_rank",
    "precision_recall_curve",
    "precision_within",
    "quantization_angle",
    "recall_at",
]
