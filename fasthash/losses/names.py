"""What settings and commands call the losses, known without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fasthash.plugins import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

LOSSES: Registry[Callable[..., Any]] = Registry(
    "fasthash.losses",
    {
        name.lower(): f"fasthash.losses:{name}"
        for name in (
            "ADSH",
            "CEL",
            "CSQ",
            "DBDH",
            "DCH",
            "DHN",
            "DPSH",
            "DSDH",
            "GreedyHash",
            "HashNet",
            "HyP2",
            "WGLHH",
        )
    },
)
"""Losses by the names of `--method`: what makes one, of `n_bits`, `n_classes` and `labels` what its signature names."""
QUANTIZATIONS = ("original", "none", "hswd", "swd")
