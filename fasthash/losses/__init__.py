"""Losses of learning to hash, as torch modules."""

from fasthash.losses.quantization import (
    HSWD,
    BitBalance,
    LogCosh,
    MagnitudeError,
    OptimalTransport,
    SlicedWasserstein,
)

__all__ = ["HSWD", "BitBalance", "LogCosh", "MagnitudeError", "OptimalTransport", "SlicedWasserstein"]
